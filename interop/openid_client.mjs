// openid-client, as an application of the organisation would use it.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { CLIENT_ID, CLIENT_SECRET, ISSUER, redirectURI, trial, visit } from './person.mjs'

const insecure = { execute: [client.allowInsecureRequests] } // the server of this trial is on the loopback interface
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, insecure)

async function begin(parameters = {}) {
  const verifier = client.randomPKCECodeVerifier()
  const checks = { pkceCodeVerifier: verifier, expectedState: client.randomState(), expectedNonce: client.randomNonce(), idTokenExpected: true }
  return {
    checks,
    parameters: {
      redirect_uri: redirectURI, scope: 'openid profile email offline_access',
      code_challenge: await client.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
      state: checks.expectedState, nonce: checks.expectedNonce, ...parameters,
    },
  }
}

let tokens
await trial('openid-client: sign in, with PKCE, nonce and the issuer in the answer', async () => {
  const { checks, parameters } = await begin()
  const back = await visit(client.buildAuthorizationUrl(config, parameters))
  tokens = await client.authorizationCodeGrant(config, back, checks)
  const claims = tokens.claims()
  const info = await client.fetchUserInfo(config, tokens.access_token, claims.sub)
  assert.equal(info.name, 'Alice')
  assert.equal(info.email, 'alice@example.org')
})

await trial('openid-client: refresh, and refresh again', async () => {
  for (let i = 0; i < 2; i++) {
    const next = await client.refreshTokenGrant(config, tokens.refresh_token)
    assert.notEqual(next.refresh_token, tokens.refresh_token)
    tokens = next
  }
})

await trial('openid-client: introspection and revocation', async () => {
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, true)
  await client.tokenRevocation(config, tokens.refresh_token)
  assert.equal((await client.tokenIntrospection(config, tokens.access_token)).active, false)
  await assert.rejects(client.refreshTokenGrant(config, tokens.refresh_token), { error: 'invalid_grant' })
})

await trial('openid-client: a denial comes back as access_denied', async () => {
  const { checks, parameters } = await begin({ prompt: 'consent' })
  const back = await visit(client.buildAuthorizationUrl(config, parameters), '-deny')
  await assert.rejects(client.authorizationCodeGrant(config, back, checks), { error: 'access_denied' })
})

await trial('openid-client: prompt=none without a session', async () => {
  const { checks, parameters } = await begin({ prompt: 'none' })
  const back = await visit(client.buildAuthorizationUrl(config, parameters))
  await assert.rejects(client.authorizationCodeGrant(config, back, checks), { error: 'login_required' })
})

await trial('openid-client: client credentials', async () => {
  const own = await client.clientCredentialsGrant(config, { scope: 'uid' })
  assert.equal(own.token_type, 'bearer')
  assert.equal(own.refresh_token, undefined)
})
