// Asks npm libraries about COSE messages, receipts and signatures: cases on stdin, answers on stdout.
//
// by "auth0":     @auth0/cose checks a COSE_Sign1 with an Ed25519 key; {key, message, payload: hex or null}
// by "noble":     @noble/curves checks the Ed25519 signature of a COSE_Sign1 that @auth0/cose took apart; the same fields
// by "ml-dsa":    @noble/post-quantum checks the ML-DSA-65 signature of a COSE_Sign1 that @auth0/cose took apart
// by "thumbprint": @transmute/cose computes the RFC 9679 thumbprint of an Ed25519 key; {key, kid}
// by "transmute": @transmute/cose recomputes a receipt's root from the entry, @auth0/cose checks the signature over it;
//                 {key, message: the COSE receipt, entry}
//
// All bytes are hex. The answers are as many as the cases: null for accepted, else why not.

import { createPublicKey } from "node:crypto";
import { Sign1 } from "@auth0/cose";
import { ed25519 } from "@noble/curves/ed25519.js";
import { ml_dsa65 } from "@noble/post-quantum/ml-dsa.js";
import { key as coseKeys, receipt } from "@transmute/cose";

const EDDSA = -8;
const ML_DSA_65 = -49;
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const optional = (hex) => (hex === null || hex === undefined ? undefined : bytes(hex));

function publicKey(raw) {
  const x = Buffer.from(raw).toString("base64url");
  return createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x } });
}

async function auth0(key, message, payload) {
  await Sign1.decode(message).verify(publicKey(key), { detachedPayload: payload });
}

function bySignature(algorithm, verify, key, message, payload) {
  const sign1 = Sign1.decode(message);
  if (sign1.protectedHeaders.get(1) !== algorithm) throw new Error("another algorithm");
  const signed = Sign1.Signature1(sign1.encodedProtectedHeaders, new Uint8Array(), payload ?? sign1.payload);
  if (!verify(sign1.signature, signed, key)) throw new Error("the signature does not fit");
}

async function thumbprint(key, kid) {
  const coseKey = new Map([[1, 1], [2, Buffer.from("any")], [3, EDDSA], [-1, 6], [-2, Buffer.from(key)]]);
  const found = Buffer.from(await coseKeys.thumbprint.calculateCoseKeyThumbprint(coseKey));
  if (!found.equals(Buffer.from(kid))) throw new Error("another thumbprint");
}

async function transmute(key, message, entry) {
  const verifier = { verify: ({ coseSign1, payload }) => auth0(key, coseSign1, new Uint8Array(payload)) };
  await receipt.inclusion.verify({ entry: await receipt.leaf(entry), receipt: message, verifier });
}

const CHECKS = {
  auth0: (c) => auth0(bytes(c.key), bytes(c.message), optional(c.payload)),
  noble: (c) => bySignature(EDDSA, ed25519.verify, bytes(c.key), bytes(c.message), optional(c.payload)),
  "ml-dsa": (c) => bySignature(ML_DSA_65, ml_dsa65.verify, bytes(c.key), bytes(c.message), optional(c.payload)),
  thumbprint: (c) => thumbprint(bytes(c.key), bytes(c.kid)),
  transmute: (c) => transmute(bytes(c.key), bytes(c.message), bytes(c.entry)),
};

let text = "";
for await (const chunk of process.stdin) text += chunk;
const answers = [];
for (const one of JSON.parse(text)) {
  const check = CHECKS[one.by];
  if (!check) throw new Error(`no library is called ${one.by}`);
  try {
    await check(one);
    answers.push(null);
  } catch (error) {
    answers.push(String(error?.message ?? error) || "refused");
  }
}
process.stdout.write(JSON.stringify(answers));
