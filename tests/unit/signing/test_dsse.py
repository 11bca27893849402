"""DSSE by the specification's own example; what was changed, or signed by another key, is refused."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from modelyard.core.errors import Untrusted
from modelyard.signing.dsse import Envelope, countersign, opened, pae, seal
from modelyard.signing.keys import NOBODY, Ed25519Signer, TrustedKeys

KIND = "application/vnd.in-toto+json"
OURS, THEIRS = (Ed25519Signer.make(seed=bytes([n]) * 32) for n in (1, 2))
TRUST = TrustedKeys(OURS.trusted())
X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
EXAMPLE = """
{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld", "signatures":
 [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}
"""


class P256:
    """The key of the specification's example: ECDSA, the signature as r and s one after the other."""

    keys = ("example",)
    public = ec.EllipticCurvePublicNumbers(X, Y, ec.SECP256R1()).public_key()

    def signer_of(self, message: bytes, signature: bytes, hint: str = "") -> str | None:
        r, s = (int.from_bytes(half) for half in (signature[:32], signature[32:]))
        try:
            self.public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return None
        return "example"


def test_the_example_of_the_specification_opens() -> None:
    """https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md#test-vectors"""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    envelope = Envelope.from_json(EXAMPLE)
    assert opened(envelope, "http://example.com/HelloWorld", P256()) == (b"hello world", "example")
    changed = envelope.model_copy(update={"payload": base64.b64encode(b"hello World").decode()})
    with pytest.raises(Untrusted):
        opened(changed, "http://example.com/HelloWorld", P256())


def test_lengths_are_those_of_bytes() -> None:
    assert pae("é", "ü€".encode()) == b"DSSEv1 2 \xc3\xa9 5 \xc3\xbc\xe2\x82\xac"


def test_what_was_signed_is_read_back() -> None:
    envelope = Envelope.from_json(seal(KIND, b"{}", OURS).to_json())
    assert opened(envelope, KIND, TRUST) == (b"{}", OURS.key)
    assert json.loads(envelope.to_json())["payloadType"] == KIND


def test_url_safe_base64_is_read_too_and_unknown_keys_are_ignored() -> None:
    body = json.loads(seal(KIND, b"\xff\xfe>>>???", OURS).to_json())
    for one in (body, *body["signatures"]):
        one["unknown"] = 1
    body["payload"] = base64.urlsafe_b64encode(b"\xff\xfe>>>???").decode()
    body["signatures"][0]["sig"] = body["signatures"][0]["sig"].translate(str.maketrans("+/", "-_"))
    assert opened(Envelope.from_json(json.dumps(body)), KIND, TRUST)[0] == b"\xff\xfe>>>???"


def test_a_wrong_hint_takes_nothing_away_and_lends_nothing() -> None:
    """The id of a key is not signed: whoever changes it gains nothing."""
    ours, theirs = seal(KIND, b"{}", OURS), seal(KIND, b"{}", THEIRS)
    renamed = ours.model_copy(update={"signatures": (ours.signatures[0].model_copy(update={"keyid": "x"}),)})
    assert opened(renamed, KIND, TRUST)[1] == OURS.key
    lent = theirs.signatures[0].model_copy(update={"keyid": OURS.key})
    with pytest.raises(Untrusted, match="does not match: something was changed"):
        opened(theirs.model_copy(update={"signatures": (lent,)}), KIND, TRUST)


def test_one_trusted_signature_of_several_is_enough() -> None:
    both = countersign(seal(KIND, b"{}", THEIRS), OURS)
    assert countersign(both, OURS) is both
    assert opened(both, KIND, TRUST)[1] == OURS.key
    assert opened(both, KIND, TrustedKeys(THEIRS.trusted()))[1] == THEIRS.key


@pytest.mark.parametrize(
    ("envelope", "says"),
    [
        (seal(KIND, b"{}", THEIRS), "which is not trusted here"),
        (seal(KIND, b"{}", OURS).model_copy(update={"signatures": ()}), "carries no signature"),
        (seal(KIND, b"{}", OURS).model_copy(update={"payload": "e30h"}), "does not match"),
        (seal(KIND, b"{}", OURS).model_copy(update={"payload": "%"}), "payload is not base64"),
        (seal(KIND, b"{}", OURS).model_copy(update={"payload_type": "text/plain"}), "does not match"),
        (seal("text/plain", b"{}", OURS), "what was signed is 'text/plain'"),
    ],
)
def test_what_nobody_trusted_has_signed_is_refused(envelope: Envelope, says: str) -> None:
    with pytest.raises(Untrusted, match=says):
        opened(envelope, KIND, TRUST)


def test_who_trusts_nobody_opens_nothing() -> None:
    with pytest.raises(Untrusted, match="trusted: none"):
        opened(seal(KIND, b"{}", OURS), KIND, NOBODY)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"payload": 1, "payloadType": "", "signatures": []}'])
def test_what_is_no_envelope_is_said_to_be_none(text: str) -> None:
    with pytest.raises(Untrusted, match="no DSSE envelope"):
        Envelope.from_json(text)
