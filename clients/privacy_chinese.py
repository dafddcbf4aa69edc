"""A privacy statement in Chinese: the same paragraphs, facts and numbers as in English."""

from __future__ import annotations

from clients.privacy_facts import Facts, IssuerFacts, RunFacts, SpentFacts, UnitFacts
from clients.privacy_words import Paragraph, percent, up


def chinese(facts: Facts) -> list[Paragraph]:
    """All that a statement says."""
    run = facts.run
    said = [] if facts.issuer is None else [("声明方", _issuer_zh(facts.issuer, run))]
    said.append(("保护什么", _unit_zh(facts.unit)))
    if run is None:
        said.append(("保护程度", f"目前无法说明：本企业尚未见到任务 {facts.task} 的任何一轮训练。"))
    else:
        members = f"参与训练任务 {facts.task} 的 {run.firms} 家企业数据表中的每一个隐私单元。"
        said += [("保护谁", members), ("防范谁", _against_zh(run, facts.spent)), ("保护程度", _how_much_zh(run))]
    if facts.spent is not None:
        said.append(("隐私预算的消耗", _spent_zh(facts.spent)))
    if run is not None and run.mode != "none":
        said.append(("成立的前提", _assumptions_zh(run)))
    return [*said, ("不在保护之内", _limits_zh(run))]


def _issuer_zh(issuer: IssuerFacts, run: RunFacts | None) -> str:
    said = f"{issuer.consortium} 联盟的 {issuer.member}，依据其自身文件，截至 {issuer.date}。"
    last = issuer.round
    if last is None or run is None:
        return said
    said += f"所知的最近一轮训练为 {last.id[:12]}（第 {last.number} 轮，共 {run.rounds} 轮，账本第 {last.entry} 条）"
    return said + (f"；最近发布的模型为 {last.release[:12]}。" if last.release else "；尚未发布模型。")


def _unit_zh(unit: UnitFacts) -> str:
    return {
        "row": "隐私单元是数据表中的一行：该行对训练的全部贡献。",
        "entity": f"隐私单元是同一个 {unit.column} 的所有行：最多使用其中 {unit.most_rows} 行，其贡献合并后统一裁剪。",
        "block": f"隐私单元是同一个 {unit.column} 连续 {unit.days} 天的数据（一个时间块）："
        "该块的全部贡献合并后统一裁剪，不同的块没有共同的日期。",
        "series": f"隐私单元是同一个 {unit.column} 的整条时间序列：其全部贡献合并后统一裁剪。",
    }[unit.kind]


def _against_zh(run: RunFacts, spent: SpentFacts | None) -> str:
    if run.mode == "none":
        return "不防范任何人。未添加噪声（none 模式）：任何看到模型或更新的人都可能获知任意一条记录。"
    if run.mode == "local":
        return (
            "防范任何人，且不限时间：协调方、其他所有企业的合谋、银行，以及任何得到模型或更新的人。"
            "每家企业自己添加的噪声本身就已足够（本地差分隐私，local 模式）。"
        )
    groups = f"（共 {run.groups} 组，每组分别如此）" if run.groups > 1 else ""
    helped = f"协调方与至多 {run.colluders} 家企业的合谋" if run.colluders else "未与任何企业合谋的协调方"
    return (
        "防范任何看到已解出（去掩码或解密）的聚合结果或模型的人，且不限时间：银行和公众；"
        f"在隐藏单个更新的加密未被攻破的前提下，也防范{helped}。"
        "每家企业只添加一部分噪声，只有聚合结果中的噪声才足够（分布式差分隐私，distributed 模式）。"
        f"{_sum_zh(run)}至少 {run.threshold} 家企业的聚合结果{groups}，{_opened_zh(spent)}。"
    )


def _opened_zh(spent: SpentFacts | None) -> str:
    own = "但企业在争议中向审计方公开的自己的更新除外"
    if spent is None or spent.by == "ledger":
        return f"{own}，其消耗计入该企业的隐私钱包"
    if spent.openings == 0:
        return f"{own}；本企业未公开过来自该数据的更新"
    return f"{own}；本企业已公开 {spent.openings} 个来自该数据的更新，看到的人可以再向他人出示"


def _sum_zh(run: RunFacts) -> str:
    if run.aggregation == "encrypted":
        return f"更新经过加密（encrypted 聚合），密钥仅由 {run.key_holder} 持有，只会解出"
    return f"更新通过安全聚合加掩码（{run.aggregation} 聚合），只会解出"


def _how_much_zh(run: RunFacts) -> str:
    if run.mode == "none":
        return f"没有任何承诺：这 {run.rounds} 轮训练没有 ε 可言。"
    sampled = "" if run.sampling_rate == 1 else f"，每次随机抽取 {run.sampling_rate * 100:.3g}% 的隐私单元"
    return (
        f"整个训练过程满足差分隐私，ε 为 {up(run.epsilon)}，δ 为 {run.delta:g}："
        f"共 {run.rounds} 轮、{run.steps} 次加噪求和{sampled}，噪声乘数为 {run.noise_multiplier:.4g}。"
        "仅就这次训练而言，即使攻击者掌握其他全部数据，先验概率各半时，他判断某个隐私单元是否在训练数据中，"
        f"猜对的概率至多为 {percent(run.guess)}%；随机猜测为 50%。"
    )


def _spent_zh(spent: SpentFacts) -> str:
    if spent.by == "ledger":
        return (
            "账本上该任务的全部轮次（包括失败的轮次）合计，对于其所属企业参加了每一轮的隐私单元，"
            f"ε 为 {up(spent.epsilon)}，δ 为 {spent.delta:g}。"
            "同一数据上的其他任务另外计入各企业自己的隐私钱包，终身上限由各企业自行设定。"
            f"{_together_zh(spent)}"
        )
    assert spent.cap is not None
    year = "" if spent.year is None else f"任意 365 天内最多可消耗 ε {spent.year:g}。"
    past = (
        "这已超出上限：企业的隐私钱包拒绝任何新的消耗。"
        if spent.epsilon > spent.cap
        else "超出上限的训练会被企业的隐私钱包拒绝。"
    )
    return (
        f"该数据集在所有任务、所有训练和所有联盟中合计已消耗隐私预算 ε {up(spent.epsilon)}，终身上限为 ε {spent.cap:g}"
        f"（δ 为 {spent.delta:g}）。{_together_zh(spent)}{year}{past}"
    )


def _together_zh(spent: SpentFacts) -> str:
    if spent.epsilon == 0:
        return ""
    said = f"以上全部合计，先验概率各半时，判断一个隐私单元是否在训练数据中，猜对的概率至多为 {percent(spent.guess)}%"
    if spent.epsilon_of_two is not None:
        said += f"；两个单元合计，ε 为 {up(spent.epsilon_of_two)}"
    if spent.openings:
        said += f"；其中计入了 {spent.openings} 个已公开的更新，在其所属轮次之外消耗 ε {up(spent.openings_epsilon)}"
    return f"{said}。"


def _assumptions_zh(run: RunFacts) -> str:
    share = _honest_zh(run.colluders) if run.mode == "distributed" else ""
    holder = (
        f"{run.key_holder} 不与任何一方串通：谁同时拥有其密钥和单个更新，谁就能读取该更新。" if run.key_holder else ""
    )
    return (
        "各企业运行未经修改的本软件，随机数来自其机器的安全随机源，无人能够预测：账本记录企业声明的噪声，但无法证明噪声确实已经添加。"
        f"{share}{holder}任务的隐私单元与数据相符：属于同一单元的数据使用同一个名称，并且只在一家企业。"
    )


def _honest_zh(colluders: int) -> str:
    who = (
        f"至多 {colluders} 家企业与他方串通（共享其所知）或未添加噪声；若超过这个数目"
        if colluders
        else "没有企业与他方串通（共享其所知）或未添加噪声；若有"
    )
    return (
        f"在已解出的聚合结果中，{who}，实际噪声少于此处所述。"
        "隐藏单个更新的加密（掩码和消息的密钥协商与 AES，或 encrypted 聚合自身的加密）未被攻破，"
        "对保存了传输内容的人日后也是如此，其密钥也未被窃取；否则噪声少于此处所述的更新可能被读取。"
    )


def _limits_zh(run: RunFacts | None) -> str:
    two = "同一个人或公司拥有的多个隐私单元，受到的保护较弱"
    if run is not None and run.epsilon_of_two is not None and run.mode != "none":
        two += f"：两个单元合计，或以一个单元替换另一个，仅这次训练的 ε 为 {up(run.epsilon_of_two)}"
    return (
        f"{two}；同一单元出现在多家企业时也是如此。企业的总量、其声明的规模以及它参与训练这一事实不受保护；"
        "对所有人都成立的规律也不受保护，模型正是为学习这些规律而建。根据结果选择参数所泄露的信息未计入。"
        "企业在联邦模型之上为自己训练的模型从不离开企业，企业如何使用自己的预测结果不在保护之内。"
    )
