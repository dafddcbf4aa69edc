"""A privacy statement in words, English and Chinese: one paragraph for each thing that a reader may ask.

Both texts say the same facts, with the same numbers; a test holds them to that for every mode and unit. Numbers that
bound something are rounded up, so that no text promises more than the facts do.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

from clients.privacy_facts import Facts, IssuerFacts, RunFacts, SpentFacts, UnitFacts

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
VERSION = 1
Paragraph = tuple[str, str]
"""A heading and what stands under it."""


def statement(facts: Facts) -> dict[str, Any]:
    """The statement as JSON can hold it: the facts, and the text in every language."""
    texts = {one: [{"heading": head, "text": text} for head, text in paragraphs(facts, one)] for one in LANGUAGES}
    return {"version": VERSION, "facts": facts.to_json(), "text": texts}


def paragraphs(facts: Facts, language: Language) -> list[Paragraph]:
    """The statement in one language."""
    return _english(facts) if language == "en" else _chinese(facts)


def up(value: float) -> str:
    """A bound to three digits, rounded up but for what is below a part in 100,000 of it."""
    if value <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(value / unit - 1e-5 * (value / unit)) * unit:.3g}"


def percent(share: float) -> str:
    """A share rounded up to a tenth of a percent."""
    return f"{min(100.0, math.ceil(share * 1000 - 1e-6) / 10):.1f}"


def _english(facts: Facts) -> list[Paragraph]:
    run = facts.run
    said = [] if facts.issuer is None else [("Whose statement", _issuer_en(facts.issuer, run))]
    said.append(("What is protected", _unit_en(facts.unit)))
    if run is None:
        said.append(("How much", f"Nothing can be said yet: this firm has seen no round of the task {facts.task}."))
    else:
        members = f"Every such unit in the tables of the {run.firms} firms that train the task {facts.task}."
        said += [
            ("For whom", members),
            ("Against whom", _against_en(run, facts.spent)),
            ("How much", _how_much_en(run)),
        ]
    if facts.spent is not None:
        said.append(("What was spent", _spent_en(facts.spent)))
    if run is not None and run.mode != "none":
        said.append(("What has to be true", _assumptions_en(run)))
    return [*said, ("What is not covered", _limits_en(run))]


def _issuer_en(issuer: IssuerFacts, run: RunFacts | None) -> str:
    said = f"{issuer.member} of {issuer.consortium}, from its own files as of {issuer.date}."
    last = issuer.round
    if last is None or run is None:
        return said
    said += (
        f" The latest round that it knows is {last.id[:12]}, number {last.number} of {run.rounds}, entry {last.entry}"
    )
    return said + (f"; the latest release is the model {last.release[:12]}." if last.release else "; none is released.")


def _unit_en(unit: UnitFacts) -> str:
    return {
        "row": "One row of a table: all that it contributes to training.",
        "entity": f"All rows of one {unit.column}: at most {unit.most_rows} of them are used, and what they contribute "
        "is clipped together.",
        "block": f"{unit.days} days in a row of one {unit.column}, a block: all that the block contributes is clipped "
        "together, and no block shares a day with another.",
        "series": f"The whole series of one {unit.column}: all that it contributes is clipped together.",
    }[unit.kind]


def _against_en(run: RunFacts, spent: SpentFacts | None) -> str:
    if run.mode == "none":
        return "Nobody. No noise is added (mode none): whoever sees a model or an update may learn any record."
    if run.mode == "local":
        return (
            "Everybody, at any time: the coordinator, all other firms together, banks, and whoever gets a model or an "
            "update. Each firm's own noise is enough by itself (mode local)."
        )
    groups = f" in each of {run.groups} groups" if run.groups > 1 else ""
    helped = {0: "without any of the firms", 1: "together with at most 1 firm"}.get(
        run.colluders, f"together with up to {run.colluders} of the firms"
    )
    return (
        "Everybody who sees opened sums or models, at any time: banks and the public; and, as long as the encryption "
        f"that hides single updates is not broken, the coordinator {helped}. Each firm adds a share of the noise, and "
        f"only the sum has enough of it (mode distributed). {_sum_en(run)} of at least {run.threshold} firms{groups} "
        f"are ever opened, but for {_opened_en(spent)}."
    )


def _opened_en(spent: SpentFacts | None) -> str:
    own = "updates that firms open to an auditor in a dispute, each its own"
    if spent is None or spent.by == "ledger":
        return f"{own}, which their wallets pay for"
    if spent.openings == 0:
        return f"{own}; this firm has opened none from this data"
    return f"{own}; this firm has opened {spent.openings} from this data, and who sees one can show it to others"


def _sum_en(run: RunFacts) -> str:
    if run.aggregation == "encrypted":
        return f"Updates are encrypted (aggregation encrypted), {run.key_holder} alone holds the key, and only sums"
    return f"Updates are masked (aggregation {run.aggregation}), and only sums"


def _how_much_en(run: RunFacts) -> str:
    if run.mode == "none":
        return f"Nothing is promised: there is no epsilon for these {run.rounds} rounds."
    sampled = "" if run.sampling_rate == 1 else f", each with a random {run.sampling_rate * 100:.3g} % of the units"
    return (
        f"Differential privacy with epsilon {up(run.epsilon)} at delta {run.delta:g} for the whole run: {run.rounds} "
        f"rounds with {run.steps} noisy sums{sampled}, noise multiplier {run.noise_multiplier:.4g}. By this run "
        "alone, somebody who knows all other data and bets from even odds on whether one unit was there is right in at "
        f"most {percent(run.guess)} % of the cases; a coin is right in 50 %."
    )


def _spent_en(spent: SpentFacts) -> str:
    if spent.by == "ledger":
        return (
            f"All rounds of this task on the ledger, those that failed included, come to epsilon {up(spent.epsilon)} "
            f"at delta {spent.delta:g} for a unit whose firm was in each of them. Other tasks on the same data add "
            f"to that in each firm's own wallet, and each firm sets its own lifetime cap.{_together_en(spent)}"
        )
    assert spent.cap is not None
    past = (
        "That is past the cap: the firm's wallet refuses everything more."
        if spent.epsilon > spent.cap
        else "The firm's wallet refuses what would pass the cap."
    )
    year = "" if spent.year is None else f" At most epsilon {spent.year:g} of it may be paid in any 365 days."
    return (
        f"This data set has paid epsilon {up(spent.epsilon)} of its lifetime cap of {spent.cap:g} at delta "
        f"{spent.delta:g}, over all tasks, runs and consortia together.{_together_en(spent)}{year} {past}"
    )


def _together_en(spent: SpentFacts) -> str:
    """What all that was paid means, beside what one run does."""
    if spent.epsilon == 0:
        return ""
    said = f" By all of it together, a bet from even odds on one unit is right in at most {percent(spent.guess)} %"
    if spent.epsilon_of_two is not None:
        said += f", and two units have epsilon {up(spent.epsilon_of_two)}"
    if spent.openings:
        many = "1 opened update" if spent.openings == 1 else f"{spent.openings} opened updates"
        said += f"; it counts {many}, epsilon {up(spent.openings_epsilon)} beside what the rounds cost"
    return f"{said}."


def _assumptions_en(run: RunFacts) -> str:
    share = _honest_en(run.colluders) if run.mode == "distributed" else ""
    holder = (
        f" {run.key_holder} sides with nobody: whoever has its key and single updates can read them."
        if run.key_holder
        else ""
    )
    return (
        "Firms run this software unchanged, with random bits from the secure source of their machines, which nobody "
        "can predict: the ledger records the noise that a firm declares, and cannot prove that it was added."
        f"{share}{holder} The task's unit fits the data: what belongs to one unit has one name, and is at one firm."
    )


def _honest_en(colluders: int) -> str:
    who = {
        0: "No firm in an opened sum passes on what it knows or leaves its noise out; if one does",
        1: "At most 1 firm in an opened sum passes on what it knows or leaves its noise out; if more do",
    }.get(
        colluders,
        f"At most {colluders} of the firms in an opened sum pass on what they know or leave their noise out; "
        "if more do",
    )
    return (
        f" {who}, there is less noise than is stated. The encryption that hides single updates (key agreement and AES "
        "for masks and messages, or encrypted aggregation's own) holds, also later against who kept what was sent, and "
        "its secrets are not stolen: else updates can be read that have less noise than is stated."
    )


def _limits_en(run: RunFacts | None) -> str:
    two = "Several units of one person or company are protected less"
    if run is not None and run.epsilon_of_two is not None and run.mode != "none":
        two += f": two together, or one put in another's place, by epsilon {up(run.epsilon_of_two)} in this run alone"
    return (
        f"{two}; so is one that is at several firms. Totals of a firm, its declared size and that it takes part are "
        "not protected, nor what is true of everybody, which a model is there to learn. Settings that were chosen by "
        "looking at results are not counted. A model that a firm trains for itself on top of the federated one never "
        "leaves it, and what the firm does with its own answers is not covered."
    )


def _chinese(facts: Facts) -> list[Paragraph]:
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
