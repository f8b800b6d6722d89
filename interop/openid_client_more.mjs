// What openid-client can do beyond the first page of its manual, each with a client that is registered for it.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import * as jose from 'jose'
import { ISSUER, manage, redirectURI, register, trial, visit } from './person.mjs'
import { execFile } from 'node:child_process'

const insecure = { execute: [client.allowInsecureRequests] }
const discover = (made, proof, metadata = {}) => client.discovery(new URL(ISSUER), made.client_id, metadata, proof, insecure)

async function keyPair(alg, use) {
  const pair = await jose.generateKeyPair(alg, { extractable: true, modulusLength: 2048, crv: alg.startsWith('ECDH') ? 'P-256' : undefined })
  const jwk = { ...(await jose.exportJWK(pair.publicKey)), use, alg }
  jwk.kid = await jose.calculateJwkThumbprint(jwk)
  return { ...pair, jwk }
}

async function signIn(config, { push = false, sign, wrap, parameters = {}, expected = {} } = {}) {
  const verifier = client.randomPKCECodeVerifier()
  const checks = { pkceCodeVerifier: verifier, expectedState: client.randomState(), expectedNonce: client.randomNonce(), idTokenExpected: true, ...expected }
  const asked = {
    redirect_uri: redirectURI, scope: 'openid email', code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    state: checks.expectedState, nonce: checks.expectedNonce, ...parameters,
  }
  let address
  if (sign) address = await client.buildAuthorizationUrlWithJAR(config, asked, sign)
  else address = client.buildAuthorizationUrl(config, asked)
  if (push) address = await client.buildAuthorizationUrlWithPAR(config, sign ? address.searchParams : asked)
  let back = await visit(address)
  if (wrap) back = wrap(back)
  return client.authorizationCodeGrant(config, back, checks)
}

for (const alg of ['ES256', 'RS256', 'PS256', 'EdDSA']) {
  await trial(`openid-client: private_key_jwt with ${alg}`, async () => {
    const { privateKey, jwk } = await keyPair(alg, 'sig')
    const made = await register({ token_endpoint_auth_method: 'private_key_jwt' }, jwk)
    const config = await discover(made, client.PrivateKeyJwt({ key: privateKey, kid: jwk.kid }))
    const tokens = await signIn(config)
    assert.equal((await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)).email, 'alice@example.org')
  })
}

await trial('openid-client: client_secret_jwt', async () => {
  const made = await register({ token_endpoint_auth_method: 'client_secret_jwt' })
  await signIn(await discover(made, client.ClientSecretJwt(made.client_secret)))
})

await trial('openid-client: pushed authorization requests, when they are required', async () => {
  const made = await register({ require_pushed_authorization_requests: true })
  const config = await discover(made, client.ClientSecretPost(made.client_secret))
  await signIn(config, { push: true })
  await assert.rejects(signIn(config), { error: 'invalid_request' })
})

await trial('openid-client: signed requests, sent and pushed', async () => {
  const { privateKey, jwk } = await keyPair('ES256', 'sig')
  const made = await register({ require_signed_request_object: true, request_object_signing_alg: 'ES256' }, jwk)
  const config = await discover(made, client.ClientSecretPost(made.client_secret))
  const sign = { key: privateKey, kid: jwk.kid }
  await signIn(config, { sign })
  await signIn(config, { sign, push: true })
})

await trial('openid-client: answers in a JWT (JARM)', async () => {
  for (const alg of ['ES256', 'RS256']) {
    const made = await register({ authorization_signed_response_alg: alg })
    const config = await discover(made, client.ClientSecretPost(made.client_secret), { authorization_signed_response_alg: alg })
    client.useJwtResponseMode(config)
    await signIn(config)
  }
})

await trial('openid-client: ID tokens signed with ES256, RS256 and EdDSA', async () => {
  for (const alg of ['ES256', 'RS256', 'EdDSA']) {
    const made = await register({ id_token_signed_response_alg: alg })
    const config = await discover(made, client.ClientSecretPost(made.client_secret), { id_token_signed_response_alg: alg })
    client.enableNonRepudiationChecks(config)
    await signIn(config)
  }
})

await trial('openid-client: signed userinfo and signed introspection', async () => {
  const made = await register({ userinfo_signed_response_alg: 'RS256', introspection_signed_response_alg: 'ES256' })
  const config = await discover(made, client.ClientSecretPost(made.client_secret), { userinfo_signed_response_alg: 'RS256', introspection_signed_response_alg: 'ES256' })
  client.enableNonRepudiationChecks(config)
  const tokens = await signIn(config)
  assert.equal((await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub)).email, 'alice@example.org')
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, true)
})

await trial('openid-client: encrypted ID tokens', async () => {
  for (const alg of ['RSA-OAEP-256', 'ECDH-ES']) {
    const { privateKey, jwk } = await keyPair(alg, 'enc')
    const made = await register({ id_token_encrypted_response_alg: alg, id_token_encrypted_response_enc: 'A256GCM' }, jwk)
    const config = await discover(made, client.ClientSecretPost(made.client_secret), { id_token_encrypted_response_alg: alg, id_token_encrypted_response_enc: 'A256GCM' })
    client.enableDecryptingResponses(config, ['A256GCM'], { key: privateKey, kid: jwk.kid, alg })
    await signIn(config)
  }
})

await trial('openid-client: code id_token, and id_token alone', async () => {
  const hybrid = await register({ grant_types: ['authorization_code', 'implicit'], response_types: ['code id_token', 'id_token'] })
  const config = await discover(hybrid, client.ClientSecretPost(hybrid.client_secret))
  client.useCodeIdTokenResponseType(config)
  await signIn(config, { parameters: { response_type: 'code id_token' } })
  const plain = await discover(hybrid, client.ClientSecretPost(hybrid.client_secret))
  client.useIdTokenResponseType(plain)
  const nonce = client.randomNonce()
  const back = await visit(client.buildAuthorizationUrl(plain, { redirect_uri: redirectURI, scope: 'openid', nonce, state: 'x' }))
  const claims = await client.implicitAuthentication(plain, back, nonce, { expectedState: 'x' })
  assert.equal(claims.iss, ISSUER)
})

await trial('openid-client: device code', async () => {
  const made = await register({ confidential: false, grant_types: ['urn:ietf:params:oauth:grant-type:device_code'], redirect_uris: [], refresh_tokens: 'offline_access' })
  const config = await discover(made, client.None())
  const begun = await client.initiateDeviceAuthorization(config, { scope: 'openid offline_access' })
  const allowed = new Promise((done, broken) => execFile('person', ['-password-file', 'alice.password', begun.verification_uri_complete], (e) => (e ? broken(e) : done())))
  await allowed
  const tokens = await client.pollDeviceAuthorizationGrant(config, begun)
  assert.ok(tokens.refresh_token && tokens.claims().sub)
  await client.refreshTokenGrant(config, tokens.refresh_token)
})

await trial('openid-client: signs out where the person came from', async () => {
  const made = await register({ post_logout_redirect_uris: ['http://127.0.0.1:4181/bye'] })
  const config = await discover(made, client.ClientSecretPost(made.client_secret))
  const tokens = await signIn(config)
  const address = client.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: 'http://127.0.0.1:4181/bye', state: 'good night' })
  const back = await visit(address)
  assert.equal(back.pathname + back.search, '/bye?state=good+night')
})

await trial('openid-client: registers itself, and signs in', async () => {
  const made = await manage('POST', '/api/registration-tokens', { label: 'interop', redirect_hosts: ['127.0.0.1'], max_uses: 1 })
  const config = await client.dynamicClientRegistration(new URL(ISSUER), { client_name: 'Newcomer', redirect_uris: [redirectURI], token_endpoint_auth_method: 'client_secret_post' },
    undefined, { initialAccessToken: made.token, ...insecure })
  await signIn(config)
})
