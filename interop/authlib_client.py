"""Authlib, as an application of the organisation would use it."""
import os
import subprocess
import sys
import traceback

from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet
import requests

issuer, client_id, client_secret = (os.environ[n] for n in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET"))
back_to = "http://127.0.0.1:4181/cb"
meta = requests.get(issuer + "/.well-known/openid-configuration", timeout=10).json()
failed = 0


def visit(address, *more):
    """Opens an address as alice, and answers where she was sent back to."""
    command = ["person", "-password-file", "alice.password", "-stop-at", "http://127.0.0.1:4181/", *more, address]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def trial(check):
    global failed
    try:
        check()
        print("ok    Authlib: " + check.__doc__)
    except Exception:
        failed += 1
        print("FAIL  Authlib: " + check.__doc__)
        traceback.print_exc()


def session(**more):
    return OAuth2Session(client_id, client_secret, scope="openid profile email offline_access", redirect_uri=back_to,
                         code_challenge_method="S256", token_endpoint=meta["token_endpoint"], **more)


signed_in = session()


@trial
def sign_in():
    """sign in, check the ID token, ask for userinfo"""
    verifier, nonce = generate_token(48), generate_token()
    address, state = signed_in.create_authorization_url(meta["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
    token = signed_in.fetch_token(meta["token_endpoint"], authorization_response=visit(address), state=state, code_verifier=verifier)
    keys = KeySet.import_key_set(requests.get(meta["jwks_uri"], timeout=10).json())
    found = jwt.decode(token["id_token"], keys, algorithms=meta["id_token_signing_alg_values_supported"])
    claims = CodeIDToken(found.claims, found.header, {"iss": {"value": issuer}, "aud": {"value": client_id}},
                         {"nonce": nonce, "client_id": client_id, "access_token": token["access_token"]})
    claims.validate(leeway=5)
    info = signed_in.get(meta["userinfo_endpoint"]).json()
    assert info["sub"] == found.claims["sub"] and info["preferred_username"] == "alice", info


@trial
def refresh():
    """refresh, introspect, revoke"""
    signed_in.refresh_token(meta["token_endpoint"])
    token = signed_in.token
    assert signed_in.introspect_token(meta["introspection_endpoint"], token=token["access_token"]).json()["active"]
    signed_in.revoke_token(meta["revocation_endpoint"], token=token["refresh_token"])
    assert not signed_in.introspect_token(meta["introspection_endpoint"], token=token["access_token"]).json()["active"]


@trial
def client_credentials():
    """client credentials, by Basic and in the form"""
    for method in ("client_secret_basic", "client_secret_post"):
        own = OAuth2Session(client_id, client_secret, token_endpoint_auth_method=method, scope="uid")
        token = own.fetch_token(meta["token_endpoint"], grant_type="client_credentials")
        assert token["token_type"] == "Bearer" and "refresh_token" not in token, token


sys.exit(1 if failed else 0)
