"""Signed bundles: with real keys and certificates, and what must not pass."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys

import pytest

from tactful import BundleError, Classifier, SignatureError, TactfulError
from tactful.bundle.loading import Bundle
from tactful.bundle.manifest_check import FILES
from tactful.bundle.signatures import check_signature, signature_of, trusted_keys
from tactful.bundle.writing import write_archive, write_bundle

pytest.importorskip("model_signing")
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


def write_private(path, key):
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(PEM, form, serialization.NoEncryption()))
    return path


def write_public(path, key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.public_key().public_bytes(PEM, form))
    return path


def certificate(name, key, issuer, issuer_key, *, is_root):
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(is_root, None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=not is_root, key_cert_sign=is_root, **usage), True
        )
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """PEM files: two pairs of keys, and a root with the certificate of the first key."""
    folder = tmp_path_factory.mktemp("keys")
    ours, theirs, root = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    for name, key in (("ours", ours), ("theirs", theirs)):
        write_private(folder / f"{name}.pem", key)
        write_public(folder / f"{name}.pub", key)
    top = certificate("root", root, None, root, is_root=True)
    leaf = certificate("signer", ours, top, root, is_root=False)
    other = certificate("root", theirs, None, theirs, is_root=True)
    for name, each in (("root.crt", top), ("signer.crt", leaf), ("other-root.crt", other)):
        (folder / name).write_bytes(each.public_bytes(PEM))
    odd = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    write_private(folder / "rsa.pem", odd)
    write_public(folder / "rsa.pub", odd)
    return folder


@pytest.fixture(scope="module")
def signature(keys, sound_bundle):
    files = {name: (sound_bundle / name).read_bytes() for name in FILES}
    return signature_of(sound_bundle, files, keys / "ours.pem")


@pytest.fixture
def signed(bundle_copy, signature):
    (bundle_copy / "model.sig").write_bytes(signature)
    return bundle_copy


def refusal(path, *trusted):
    with pytest.raises(SignatureError) as caught:
        Classifier.load(path, threads=1, trusted_keys=trusted)
    return str(caught.value)


def run(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "tactful.cli", *map(str, words)],
        env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_sign_and_verify_from_the_command_line(bundle_copy, keys):
    told = run("sign", bundle_copy, "--key", keys / "ours.pem")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("signed tiny@")
    told = run("verify", bundle_copy, "--key", keys / "theirs.pub", "--key", keys / "ours.pub")
    assert (told.returncode, told.stdout.endswith(f"is signed by {keys / 'ours.pub'}\n")) == (
        0,
        True,
    )
    told = run("verify", bundle_copy, TACTFUL_TRUSTED_KEYS=str(keys / "theirs.pub"))
    assert told.returncode == 1
    assert f"not verified by {keys / 'theirs.pub'}" in told.stderr
    assert run("verify", bundle_copy).returncode == 2
    told = run("sign", bundle_copy, "--key", keys / "ours.pub")
    assert told.returncode == 2
    assert "cannot sign" in told.stderr


def test_the_librarys_own_command_verifies_it_too(signed, keys):
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(signed)]
    command += ["--signature", str(signed / "model.sig"), "--public_key", str(keys / "ours.pub")]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_a_signed_bundle_loads_as_folder_and_archive(signed, keys, tmp_path, monkeypatch):
    bundle = Bundle.load(signed, threads=1, trusted_keys=keys / "ours.pub")
    assert bundle.signed_by == keys / "ours.pub"
    write_archive(bundle, tmp_path / "b.tar.gz")
    monkeypatch.setenv("TACTFUL_TRUSTED_KEYS", f"{keys / 'theirs.pub'}:{keys / 'ours.pub'}")
    assert Bundle.load(tmp_path / "b.tar.gz", threads=1).signed_by == keys / "ours.pub"


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_of_any_file_is_refused(signed, keys, name):
    content = bytearray((signed / name).read_bytes())
    content[len(content) // 2] ^= 1
    (signed / name).write_bytes(content)
    said = refusal(signed, keys / "ours.pub")
    assert said.endswith(f"it signs other content than this of: {name}")


def test_a_forged_manifest_that_agrees_with_its_files_is_refused(signed, keys, rehash):
    (signed / "README.md").write_text("# another card\n")
    rehash(signed)
    Classifier.load(signed, threads=1)  # no damage: this is what the manifest cannot find
    assert refusal(signed, keys / "ours.pub").endswith("this of: README.md, manifest.json")


def test_the_signature_of_another_bundle_is_refused(
    tmp_path, bundle_parts, manifest_fields, signature, keys
):
    other = tmp_path / "other"
    write_bundle(other, manifest_fields=manifest_fields | {"name": "other"}, files=bundle_parts)
    (other / "model.sig").write_bytes(signature)
    assert refusal(other, keys / "ours.pub").endswith("this of: manifest.json")


def test_an_unknown_key_and_no_signature_are_named(signed, keys):
    said = refusal(signed, keys / "theirs.pub", keys / "root.crt")
    assert f"not verified by {keys / 'theirs.pub'}" in said
    assert f"not verified by {keys / 'root.crt'}" in said
    (signed / "model.sig").unlink()
    assert "model.sig: missing" in refusal(signed, keys / "ours.pub")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"mediaType": 5}'])
def test_what_is_no_signature_is_refused(signed, keys, content):
    (signed / "model.sig").write_bytes(content)
    for trusted in ("ours.pub", "root.crt"):
        assert "model.sig: not verified by" in refusal(signed, keys / trusted)


def test_a_changed_statement_is_refused(signed, keys, signature):
    import base64

    content = json.loads(signature)
    payload = base64.b64decode(content["dsseEnvelope"]["payload"])
    forged = payload.replace(b'"manifest.json"', b'"manifest.jsoN"')
    content["dsseEnvelope"]["payload"] = base64.b64encode(forged).decode()
    (signed / "model.sig").write_text(json.dumps(content))
    assert "not verified by" in refusal(signed, keys / "ours.pub")


def test_a_signature_that_leaves_a_file_out_is_refused(signed, keys):
    from model_signing import hashing, signing

    config = signing.Config().use_elliptic_key_signer(private_key=keys / "ours.pem")
    ignored = [signed / "model.sig", signed / "model.onnx"]
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=ignored))
    config.sign(signed, signed / "model.sig")
    assert "model.sig: " in refusal(signed, keys / "ours.pub")
    files = {name: (signed / name).read_bytes() for name in FILES if name != "model.onnx"}
    files["model.sig"] = (signed / "model.sig").read_bytes()
    with pytest.raises(SignatureError, match=r"does not cover model\.onnx"):
        check_signature("a bundle", files, [keys / "ours.pub"])


def test_certificates_are_trusted_by_their_root(signed, keys):
    files = {name: (signed / name).read_bytes() for name in FILES}
    content = signature_of(signed, files, keys / "ours.pem", certificate=keys / "signer.crt")
    (signed / "model.sig").write_bytes(content)
    loaded = Bundle.load(signed, threads=1, trusted_keys=[keys / "root.crt"])
    assert loaded.signed_by == keys / "root.crt"
    assert "not verified by" in refusal(signed, keys / "other-root.crt")
    with pytest.raises(TactfulError, match="cannot sign"):  # the certificate is another key's
        signature_of(signed, files, keys / "theirs.pem", certificate=keys / "signer.crt")


def test_keys_that_cannot_be_used_are_named(signed, keys, tmp_path):
    for name in ("ours.pem", "rsa.pub", "nowhere.pub"):
        with pytest.raises(TactfulError, match=f"{name} .*") as caught:
            Classifier.load(signed, threads=1, trusted_keys=keys / name)
        assert not isinstance(caught.value, BundleError)
    for name in ("rsa.pem", "nowhere.pem"):
        with pytest.raises(TactfulError, match="cannot sign"):
            signature_of(signed, {}, keys / name)


def test_an_empty_variable_lets_nothing_in(signed, keys, monkeypatch):
    monkeypatch.setenv("TACTFUL_TRUSTED_KEYS", " ")
    with pytest.raises(TactfulError, match="set and empty"):
        Classifier.load(signed, threads=1)
    assert trusted_keys(()) == ()
    Classifier.load(signed, threads=1, trusted_keys=())


def test_service_and_batch_ask_for_it_too(signed, keys, score, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"reply": "sorry"}\n')
    trusted = {"TACTFUL_TRUSTED_KEYS": str(keys / "theirs.pub"), "TACTFUL_BUNDLE": str(signed)}
    for words in (["score", tmp_path / "in.jsonl", tmp_path / "out.jsonl"], ["serve", "--port", 0]):
        told = run(*words, **trusted)
        assert told.returncode == 2
        assert f"not verified by {keys / 'theirs.pub'}" in told.stderr
    assert not (tmp_path / "out.jsonl").exists()
