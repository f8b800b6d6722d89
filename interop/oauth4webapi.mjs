// oauth4webapi, which refuses every answer that the standards do not allow.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { CLIENT_ID, CLIENT_SECRET, ISSUER, redirectURI, trial, visit } from './person.mjs'

const http = { [oauth.allowInsecureRequests]: true } // the server of this trial is on the loopback interface
const issuer = new URL(ISSUER)
const self = { client_id: CLIENT_ID }
let as, tokens

await trial('oauth4webapi: discovery of OpenID Connect and of OAuth', async () => {
  for (const algorithm of ['oidc', 'oauth2']) {
    as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...http }))
  }
})

const methods = { ClientSecretBasic: oauth.ClientSecretBasic(CLIENT_SECRET), ClientSecretPost: oauth.ClientSecretPost(CLIENT_SECRET) }
for (const [name, proof] of Object.entries(methods)) {
  await trial(`oauth4webapi: code grant with ${name}`, async () => {
    const verifier = oauth.generateRandomCodeVerifier()
    const nonce = oauth.generateRandomNonce(), state = oauth.generateRandomState()
    const address = new URL(as.authorization_endpoint)
    address.search = new URLSearchParams({
      client_id: CLIENT_ID, redirect_uri: redirectURI, response_type: 'code', scope: 'openid email offline_access',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', nonce, state,
    })
    const back = oauth.validateAuthResponse(as, self, await visit(address), state)
    const response = await oauth.authorizationCodeGrantRequest(as, self, proof, back, redirectURI, verifier, http)
    tokens = await oauth.processAuthorizationCodeResponse(as, self, response, { expectedNonce: nonce, requireIdToken: true })
    await oauth.validateApplicationLevelSignature(as, response, http)
    const { sub } = oauth.getValidatedIdTokenClaims(tokens)
    const info = await oauth.processUserInfoResponse(as, self, sub, await oauth.userInfoRequest(as, self, tokens.access_token, http))
    assert.equal(info.email, 'alice@example.org')
  })
}

await trial('oauth4webapi: refresh, introspection, revocation', async () => {
  const proof = methods.ClientSecretBasic
  const refreshed = await oauth.processRefreshTokenResponse(as, self, await oauth.refreshTokenGrantRequest(as, self, proof, tokens.refresh_token, http))
  const state = await oauth.processIntrospectionResponse(as, self, await oauth.introspectionRequest(as, self, proof, refreshed.access_token, http))
  assert.equal(state.active, true)
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, self, proof, refreshed.access_token, http))
  const after = await oauth.processIntrospectionResponse(as, self, await oauth.introspectionRequest(as, self, proof, refreshed.access_token, http))
  assert.equal(after.active, false)
})

await trial('oauth4webapi: an access token is one of RFC 9068', async () => {
  const response = await oauth.clientCredentialsGrantRequest(as, self, methods.ClientSecretBasic, { scope: 'uid' }, http)
  const own = await oauth.processClientCredentialsResponse(as, self, response)
  const request = new Request('https://api.example.org/', { headers: { authorization: 'Bearer ' + own.access_token } })
  const claims = await oauth.validateJwtAccessToken(as, request, ISSUER, http)
  assert.equal(claims.client_id, CLIENT_ID)
})
