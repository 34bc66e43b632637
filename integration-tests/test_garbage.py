"""Garbage, forged, late and oversized messages: each is rejected for one reason; the worker goes on."""

import base64
import hmac
import json
import random
import time
import uuid

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from berthtest.check import check_farm
from berthtest.farm import create, private_key, public_pem, share

HOUR = 3600
TOKEN_MAX = 16 * 1024
ANY_PARTITION = 3


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()) \
        .rstrip(b"=").decode()


def sign_raw(client, header, payload):
    """A token with these header and payload bytes and a valid signature."""
    if not isinstance(header, (bytes, str)):
        header = json.dumps(header)
    signing_input = f"{b64(header)}.{b64(payload)}"
    algorithm = jwt.get_algorithm_by_name(client.algorithm)
    return f"{signing_input}.{b64(algorithm.sign(signing_input.encode(), client.key))}"


class Maker:
    """Creates the messages of the tables below."""

    def __init__(self, farm):
        self.farm = farm
        self.client = farm.batch_1
        self.header = {"alg": "ES256", "kid": self.client.kid, "typ": "JWT"}
        self.request = {"type": "booking.create", "duration_s": HOUR, "allocations": []}
        self.now = int(time.time())

    def good(self, **claims):
        return self.farm.sign(self.client, self.request, **claims)

    def parts(self):
        return self.good().split(".")

    def headed(self, **more):
        """A signed token with these header parameters."""
        return self.farm.sign(self.client, self.request, headers=more)

    def raw(self, payload):
        """A signed token with these payload bytes."""
        return sign_raw(self.client, self.header, payload)

    def payload(self, **claims):
        return self.farm.claims(self.client, self.request, **claims)

    def asks(self, **changes):
        """A signed token whose request has these fields changed; None removes a field."""
        request = {key: value for key, value in {**self.request, **changes}.items()
                   if value is not None}
        return self.farm.sign(self.client, request)

    def sized(self, length):
        """A valid token of exactly this length, padded with an unknown (ignored) claim."""
        size = len(self.good())
        for extra in range(4):  # base64 has no string of every length, so the header grows too
            pad = (length - size - 8 * extra) * 3 // 4
            for more in range(max(0, pad - 60), pad + 8):
                token = self.farm.sign(self.client, self.request, headers={"x": "y" * extra},
                                       padding="z" * more)
                if len(token) == length:
                    return token
        raise AssertionError(f"no token of {length} bytes")

    def hmac_with_public_key(self):
        """Algorithm confusion: an HMAC signature with the public key as its secret."""
        signing_input = f'{b64(json.dumps({**self.header, "alg": "HS256"}))}.' \
            f"{b64(json.dumps(self.payload()))}"
        mac = hmac.digest(public_pem(self.client.key), signing_input.encode(), "sha256")
        return f"{signing_input}.{b64(mac)}"

    def wrong_algorithm(self):
        """An RS256 signature under the kid of an ES256 key."""
        return jwt.encode(self.payload(), private_key("RS256"), algorithm="RS256",
                          headers={"kid": self.client.kid})

    def der_signature(self):
        """An ECDSA signature in DER, OpenSSL's form, instead of RFC 7518's."""
        head, body, _ = self.parts()
        signature = self.client.key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        return f"{head}.{body}.{b64(signature)}"

    def signed_by(self, key, **claims):
        return jwt.encode(self.payload(**claims), key, algorithm="ES256",
                          headers={"kid": self.client.kid})

    def swapped_payload(self):
        head, _, signature = self.parts()
        body = b64(json.dumps(self.payload(sub="mallory")))
        return f"{head}.{body}.{signature}"


def trailing_bits(maker):
    """The last character of a 64-byte signature carries 2 bits; the other 4 must be zero."""
    token = maker.good()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


MALFORMED = {
    "random bytes": lambda m: random.Random(7).randbytes(500),
    "one byte": lambda m: b"\x00",
    "an empty value": lambda m: b"",
    "no value at all": lambda m: None,
    "a text": lambda m: "book gpu-01, please",
    "JSON instead of a token": lambda m: json.dumps(m.payload()),
    "two parts": lambda m: ".".join(m.parts()[:2]),
    "four parts": lambda m: m.good() + ".AAAA",
    "five parts, as JWE": lambda m: "e30.e30.e30.e30.e30",
    "an empty header": lambda m: "." + ".".join(m.parts()[1:]),
    "an empty payload": lambda m: "{0}..{2}".format(*m.parts()),
    "an empty signature": lambda m: "{0}.{1}.".format(*m.parts()),
    "dots only": lambda m: "..",
    "alg none as RFC 7519 writes it":
        lambda m: f'{b64(json.dumps({"alg": "none"}))}.{b64(json.dumps(m.payload()))}.',
    "not base64": lambda m: "{0}.{1}!.{2}".format(*m.parts()),
    "padded base64": lambda m: m.good() + "==",
    "base64 of the other alphabet": lambda m: "{0}.{1}.+/+/".format(*m.parts()),
    "a blank behind": lambda m: m.good() + "\n",
    "a blank in front": lambda m: " " + m.good(),
    "base64 of an impossible length": lambda m: "{0}.{1}.AAAAA".format(*m.parts()),
    "trailing bits": trailing_bits,
    "a header that is no JSON": lambda m: sign_raw(m.client, "alg=ES256", "{}"),
    "a header that is a list": lambda m: sign_raw(m.client, "[1]", "{}"),
    "a header of invalid UTF-8": lambda m: sign_raw(m.client, b'{"alg":"ES256","kid":"\xff"}', "{}"),
    "a header with a member twice":
        lambda m: sign_raw(m.client, '{"alg":"ES256","alg":"ES256","kid":"batch-1-key"}', "{}"),
    "a header that is nested very deep":
        lambda m: sign_raw(m.client, '{"a":' * 3000 + "1" + "}" * 3000, "{}"),
    **{f"the header parameter {name}":
       lambda m, name=name, value=value: sign_raw(m.client, {**m.header, name: value},
                                                  json.dumps(m.payload()))
       for name, value in {"crit": ["exp"], "jku": "https://example.org/keys", "jwk": {"kty": "EC"},
                           "x5u": "https://example.org/cert", "x5c": ["AAAA"],
                           "b64": True}.items()},
    "16 KiB and one byte": lambda m: m.sized(TOKEN_MAX + 1),
    "64 KiB less a little": lambda m: m.sized(65000),
    "900,000 random bytes": lambda m: random.Random(8).randbytes(900000),
}

FORGED = {
    "alg none with a signature": ("unsupported_algorithm", lambda m: ".".join(
        [b64(json.dumps({**m.header, "alg": "none"})), b64(json.dumps(m.payload())), "AAAA"])),
    "HS256 with the public key": ("unsupported_algorithm", Maker.hmac_with_public_key),
    "ES384": ("unsupported_algorithm",
              lambda m: sign_raw(m.client, {**m.header, "alg": "ES384"}, "{}")),
    "RS256 under an ES256 key's name": ("unsupported_algorithm", Maker.wrong_algorithm),
    "alg in lower case": ("unsupported_algorithm",
                          lambda m: sign_raw(m.client, {**m.header, "alg": "es256"}, "{}")),
    "alg that is no text": ("unsupported_algorithm",
                            lambda m: sign_raw(m.client, {**m.header, "alg": 256}, "{}")),
    "no alg": ("unsupported_algorithm", lambda m: sign_raw(m.client, {"kid": m.client.kid}, "{}")),
    "an unknown kid": ("unknown_key", lambda m: m.headed(kid="nobody")),
    "a kid in other case": ("unknown_key", lambda m: m.headed(kid=m.client.kid.upper())),
    "no kid": ("unknown_key", lambda m: sign_raw(m.client, {"alg": "ES256"}, "{}")),
    "a kid that is no text": ("unknown_key",
                              lambda m: sign_raw(m.client, {"alg": "ES256", "kid": 1}, "{}")),
    "a kid of SQL": ("unknown_key", lambda m: m.headed(kid="' OR 1=1 -- ")),
    "another key's signature": ("bad_signature",
                                lambda m: m.signed_by(private_key("ES256", "stranger"))),
    "another client's signature": ("bad_signature",
                                   lambda m: m.signed_by(m.farm.ops.key)),
    "another payload under the signature": ("bad_signature", Maker.swapped_payload),
    "a signature in DER": ("bad_signature", Maker.der_signature),
    "a signature of zeros": ("bad_signature",
                             lambda m: "{0}.{1}.{2}".format(*m.parts()[:2], b64(bytes(64)))),
    "a signature that is too short": ("bad_signature",
                                      lambda m: "{0}.{1}.AAAA".format(*m.parts())),
}

CLAIMS = {
    "iss of another client": ("wrong_issuer", {"iss": "ops"}),
    "no iss": ("wrong_issuer", {"iss": None}),
    "aud of another farm": ("wrong_audience", {"aud": "elsewhere"}),
    "aud of a node of this farm": ("wrong_audience", {"aud": lambda m: f"{m.farm.name}/node"}),
    "aud as a list": ("wrong_audience", {"aud": lambda m: [m.farm.name]}),
    "no aud": ("wrong_audience", {"aud": None}),
    "exp that is long over": ("expired", {"iat": lambda m: m.now - HOUR,
                                          "exp": lambda m: m.now - 120}),
    "iat far ahead": ("not_yet_valid", {"iat": lambda m: m.now + 300,
                                        "exp": lambda m: m.now + 900}),
    "nbf far ahead": ("not_yet_valid", {"nbf": lambda m: m.now + 300}),
    "more than a day": ("lifetime_too_long", {"exp": lambda m: m.now + 86401,
                                              "iat": lambda m: m.now}),
    "no lifetime": ("lifetime_too_long", {"exp": lambda m: m.now, "iat": lambda m: m.now}),
}

GOOD_CLAIMS = {
    "exp within the leeway": {"iat": lambda m: m.now - 600, "exp": lambda m: m.now - 20},
    "iat within the leeway": {"iat": lambda m: m.now + 40, "exp": lambda m: m.now + 900},
    "a whole day": {"iat": lambda m: m.now - 10, "exp": lambda m: m.now + 86390},
    "unknown claims": {"foo": [1.5, {"bar": None}], "scope": "all"},
}

INVALID = {
    "no jti": ("/jti", lambda m: m.good(jti=None)),
    "a jti of 65 characters": ("/jti", lambda m: m.good(jti="x" * 65)),
    "a jti with a blank": ("/jti", lambda m: m.good(jti="a b")),
    "a jti that is a number": ("/jti", lambda m: m.good(jti=7)),
    "no sub": ("/sub", lambda m: m.good(sub=None)),
    "a sub with a NUL": ("/sub", lambda m: m.good(sub="a\0b")),
    "iat as a fraction": ("/iat", lambda m: m.good(iat=time.time() - 1.5)),
    "no request": ("/request", lambda m: m.farm.sign(m.client, None)),
    "a request that is a list": ("/request", lambda m: m.farm.sign(m.client, [])),
    "no type": ("/request/type", lambda m: m.asks(type=None)),
    "an unknown type": ("/request/type", lambda m: m.asks(type="booking.destroy")),
    "an unknown field": ("/request/color", lambda m: m.asks(color="red")),
    "an unknown field of an allocation": ("/request/allocations/0/cores", lambda m: m.asks(
        allocations=[{**share("gpu-01"), "cores": 4}])),
    "a fraction of a GPU": ("/request/allocations/0/gpus",
                            lambda m: m.asks(allocations=[share("gpu-01", 0.5)])),
    "less than no GPU": ("/request/allocations/0/gpus",
                         lambda m: m.asks(allocations=[share("gpu-01", -1)])),
    "nothing of a machine": ("/request/allocations/0",
                             lambda m: m.asks(allocations=[share("gpu-01", 0, 0)])),
    "the same machine twice": ("/request/allocations/1", lambda m: m.asks(
        allocations=[share("gpu-01"), share("gpu-01")])),
    "65 machines": ("/request/allocations", lambda m: m.asks(
        allocations=[share(f"m{number}") for number in range(65)])),
    "a machine's name with a slash": ("/request/allocations/0/machine",
                                      lambda m: m.asks(allocations=[share("a/b")])),
    "an end before the start": ("/request/end", lambda m: m.farm.sign(
        m.client, create(m.now + 2 * HOUR, m.now + HOUR))),
    "end and duration": ("/request", lambda m: m.asks(end="2030-01-01T00:00:00Z")),
    "a time with an offset": ("/request/start", lambda m: m.asks(
        start="2030-01-01T00:00:00+00:00")),
    "a time with a fraction": ("/request/start", lambda m: m.asks(
        start="2030-01-01T00:00:00.5Z")),
    "a booking id that is a text": ("/request/booking", lambda m: m.farm.sign(
        m.client, {"type": "booking.cancel", "booking": "4268035"})),
}

# A payload that cannot be read is told what is wrong with it, before its issuer is looked for.
NOT_JSON = {
    "no JSON": ("no JSON at or before offset 5", lambda m: m.raw("hello")),
    "a list": ("it is a list", lambda m: m.raw("[]")),
    "invalid UTF-8": ("0xff, is not UTF-8", lambda m: m.raw(
        json.dumps(m.payload()).encode().replace(b"alice", b"al\xffce"))),
    "a claim twice": ("two members", lambda m: m.raw(
        json.dumps(m.payload())[:-1] + ', "sub": "mallory"}')),
    "a field twice": ("two members", lambda m: m.raw(json.dumps(m.payload()).replace(
        '"duration_s":', '"duration_s": 60, "duration_s":'))),
    "nested very deep": ("32 levels", lambda m: m.raw(json.dumps(m.payload())[:-1] + ', "x": '
                                                      + "[" * 3000 + "]" * 3000 + "}")),
    "two objects": ("something follows", lambda m: m.raw(json.dumps(m.payload()) * 2)),
    "a number of more than 64 bits": ("too large", lambda m: m.asks(
        allocations=[share("gpu-01", 1, 1 << 70)])),
    "a number beyond a double": ("too large", lambda m: m.raw(
        json.dumps(m.payload(iat=0)).replace('"iat": 0', '"iat": 1e400'))),
    "a NUL behind": ("something follows", lambda m: m.raw(json.dumps(m.payload()) + "\0")),
    "a NUL in a name": ("a NUL", lambda m: m.raw(json.dumps(m.payload())[:-1] + ', "a\\u0000": 1}')),
}


@pytest.fixture(scope="module", name="garbage")
def fixture_garbage(module_farm):
    """The module's farm with one machine for the garbage to name."""
    module_farm.register("gpu-01")
    return module_farm


def judge(farm, value, key=None):
    """Sends the message and then a good request to one partition; checks that both are decided in
    order. Returns the message's event."""
    maker = Maker(farm)
    positions = []
    farm.publish_later(value, positions, key, ANY_PARTITION)
    farm.publish_later(maker.good(), positions, None, ANY_PARTITION)
    first, second = farm.events.decisions(farm.flush(positions))
    assert second.accepted and second.sequence == first.sequence + 1
    return first


def assert_says_nothing(event):
    """An event repeats nothing from an unauthenticated message."""
    assert "subject" not in event.json and event.message.key is None
    assert set(event.data["request"]) == {"partition", "offset", "sha256"}
    for word in ("alice", "mallory", "batch-1", "gpu-01", "booking"):
        assert word not in event.data["detail"]


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(garbage, name):
    event = judge(garbage, MALFORMED[name](Maker(garbage)), key=b"\xff\x00 any key")
    assert event.reason == "malformed", event.json
    assert_says_nothing(event)


@pytest.mark.parametrize("name", FORGED)
def test_forged(garbage, name):
    reason, make = FORGED[name]
    event = judge(garbage, make(Maker(garbage)))
    assert event.reason == reason, event.json
    assert_says_nothing(event)


def claims_of(maker, table):
    return {key: value(maker) if callable(value) else value for key, value in table.items()}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(garbage, name):
    reason, table = CLAIMS[name]
    maker = Maker(garbage)
    event = judge(garbage, maker.good(jti=f"claims:{uuid.uuid4()}", **claims_of(maker, table)))
    assert event.reason == reason, event.json
    assert event.data["request"]["client"] == "batch-1"
    assert event.data["request"]["id"].startswith("claims:")


@pytest.mark.parametrize("name", GOOD_CLAIMS)
def test_claims_that_are_fine(garbage, name):
    maker = Maker(garbage)
    assert judge(garbage, maker.good(**claims_of(maker, GOOD_CLAIMS[name]))).accepted


@pytest.mark.parametrize("name", NOT_JSON)
def test_payloads_that_are_not_json(garbage, name):
    wrong, make = NOT_JSON[name]
    event = judge(garbage, make(Maker(garbage)))
    assert event.reason == "invalid_request" and event.data["pointer"] == "", event.json
    assert wrong in event.data["detail"]
    assert "id" not in event.data["request"] and "user" not in event.data["request"]


@pytest.mark.parametrize("name", INVALID)
def test_invalid_requests(garbage, name):
    pointer, make = INVALID[name]
    event = judge(garbage, make(Maker(garbage)))
    assert event.reason == "invalid_request", event.json
    assert event.data["pointer"].startswith(pointer), event.json


def test_the_longest_token(garbage):
    """A message of 16 KiB is accepted, whatever its content."""
    assert judge(garbage, Maker(garbage).sized(TOKEN_MAX)).accepted


def test_revoked_and_expired_keys(garbage):
    """A revoked key and keys outside their validity are refused; the client's other keys still work."""
    farm = garbage
    old = farm.add_key("batch-1", "submitter", "ES256", "batch-1-old", private_key("ES256", "old"))
    request = Maker(farm).request
    assert judge(farm, farm.sign(old, request)).accepted
    farm.admin_command("key", "revoke", "batch-1-old")
    event = judge(farm, farm.sign(old, request))
    assert event.reason == "key_revoked", event.json
    assert_says_nothing(event)
    # key_revoked takes precedence over bad_signature.
    assert judge(farm, farm.sign(old, request)[:-6] + "AAAAAA").reason == "key_revoked"
    past = farm.add_key("batch-1", "submitter", "ES256", "batch-1-past",
                        private_key("ES256", "past"), "--not-after", "2020-01-01T00:00:00Z")
    future = farm.add_key("batch-1", "submitter", "ES256", "batch-1-future",
                          private_key("ES256", "future"), "--not-before", "2090-01-01T00:00:00Z")
    for client in (past, future):
        assert judge(farm, farm.sign(client, request)).reason == "key_revoked"


def test_all_at_once(garbage):
    """Every message of the tables, mixed with good requests, in one batch over all partitions; then
    every check on the farm."""
    farm, maker = garbage, Maker(garbage)
    wanted, positions = [], []
    messages = [("malformed", make(maker)) for make in MALFORMED.values()]
    messages += [(reason, make(maker)) for reason, make in FORGED.values()]
    messages += [("invalid_request", make(maker)) for _, make in INVALID.values()]
    messages += [(None, maker.good()) for _ in range(50)]
    random.Random(9).shuffle(messages)
    for number, (reason, value) in enumerate(messages):
        wanted.append(reason)
        farm.publish_later(value, positions, partition=number % farm.partitions)
    events = farm.events.decisions(farm.flush(positions))
    assert [event.reason for event in events] == wanted
    check_farm(farm)
