// Answers cases with jose and canonicalize: reads the JSON file that the argument names and prints an answer for each of its cases.
import { webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'
import canonicalize from 'canonicalize'
import { CompactSign, GeneralSign, compactVerify, createLocalJWKSet, errors, generalVerify, importJWK } from 'jose'

// Node 18 has it under this name only.
globalThis.crypto ??= webcrypto

const algorithms = ['EdDSA', 'Ed25519']
const bytes = (text) => new TextEncoder().encode(text)
const text = (bytes) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)

const tasks = {
  async verify({ jws, keys: [key] }) {
    const { protectedHeader, payload } = await compactVerify(jws, await importJWK(key, 'EdDSA'), { algorithms })
    return { headers: [protectedHeader], payload: text(payload) }
  },

  async sign({ payload, signers: [{ header, key }] }) {
    const signer = new CompactSign(bytes(payload)).setProtectedHeader(header)
    return { jws: await signer.sign(await importJWK(key, header.alg)) }
  },

  // One good signature is enough for jose, so each is shown to it alone. The keys are found by their kid.
  async verify_general({ document, keys }) {
    const { payload, signatures } = JSON.parse(document)
    const headers = []
    for (const signature of signatures) {
      const alone = { payload, signatures: [signature] }
      const verified = await generalVerify(alone, createLocalJWKSet({ keys }), { algorithms })
      headers.push(verified.protectedHeader)
    }
    return { headers, payload: text(Buffer.from(payload, 'base64url')) }
  },

  async sign_general({ json, signers }) {
    const document = new GeneralSign(bytes(canonicalize(JSON.parse(json))))
    for (const { header, key } of signers) {
      document.addSignature(await importJWK(key, header.alg)).setProtectedHeader(header)
    }
    return { document: JSON.stringify(await document.sign()) }
  },

  async canonical({ json }) {
    return { canonical: canonicalize(JSON.parse(json)) }
  },
}

const answers = []
for (const { task, ...given } of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
  try {
    answers.push(await tasks[task](given))
  } catch (error) {
    if (!(error instanceof errors.JOSEError)) throw error
    answers.push({ refused: error.code })
  }
}
console.log(JSON.stringify(answers))
