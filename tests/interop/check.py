"""Answers cases with joserfc and rfc8785: reads the JSON file that the argument names and prints an answer for each of its cases."""

import json
import sys
import warnings

import rfc8785
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import KeySet, OKPKey

# It warns of `EdDSA`, which RFC 9864 deprecates in favour of `Ed25519`; both are spoken here.
warnings.simplefilter("ignore", SecurityWarning)

ALGORITHMS = ["EdDSA", "Ed25519"]


def verify(jws_text, keys):
    verified = jws.deserialize_compact(jws_text, OKPKey.import_key(keys[0]), ALGORITHMS)
    return {"headers": [verified.headers()], "payload": verified.payload.decode()}


def sign(payload, signers):
    header, key = signers[0]["header"], OKPKey.import_key(signers[0]["key"])
    return {"jws": jws.serialize_compact(header, payload.encode(), key, ALGORITHMS)}


def key_set(keys):
    return KeySet([OKPKey.import_key(key) for key in keys])


# The keys are found by their kid; joserfc wants all signatures to be good.
def verify_general(document, keys):
    verified = jws.deserialize_json(json.loads(document), key_set(keys), ALGORITHMS)
    return {"headers": [member.headers() for member in verified.members], "payload": verified.payload.decode()}


def sign_general(json_text, signers):
    members = [{"protected": signer["header"]} for signer in signers]
    keys = key_set([signer["key"] for signer in signers])
    document = jws.serialize_json(members, rfc8785.dumps(json.loads(json_text)), keys, ALGORITHMS)
    return {"document": json.dumps(document)}


def canonical(json_text):
    return {"canonical": rfc8785.dumps(json.loads(json_text)).decode()}


def answer(case):
    try:
        match case["task"]:
            case "verify":
                return verify(case["jws"], case["keys"])
            case "sign":
                return sign(case["payload"], case["signers"])
            case "verify_general":
                return verify_general(case["document"], case["keys"])
            case "sign_general":
                return sign_general(case["json"], case["signers"])
            case "canonical":
                return canonical(case["json"])
    # What isn't base64url, UTF-8 or JSON comes through from below as some ValueError.
    except (JoseError, ValueError) as error:
        return {"refused": type(error).__name__}
    raise KeyError(case["task"])


with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
json.dump([answer(case) for case in cases], sys.stdout)
