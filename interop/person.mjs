// The person of these trials, and how each trial is told. ISSUER, CLIENT_ID and CLIENT_SECRET are in the environment;
// `person` (interop/person) is on the PATH.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
export const { ISSUER, CLIENT_ID, CLIENT_SECRET } = process.env
export const redirectURI = 'http://127.0.0.1:4181/cb'

// visit opens an address as alice and answers where she was sent back to.
export async function visit(address, ...more) {
  const args = ['-password-file', 'alice.password', '-stop-at', 'http://127.0.0.1:4181/', ...more, String(address)]
  const { stdout } = await run('person', args)
  return new URL(stdout.trim())
}

let failed = 0
// trial runs one check and tells how it ended, a line each, as scripts/interop.sh reads them.
export async function trial(name, check) {
  try {
    await check()
    console.log('ok    ' + name)
  } catch (e) {
    failed++
    console.log('FAIL  ' + name)
    console.error(e)
  }
  process.exitCode = failed ? 1 : 0
}

// manage calls the management API as the administrator whose key is in MINTMARK_TOKEN_FILE.
import { readFileSync } from 'node:fs'
export async function manage(method, path, body) {
  const key = readFileSync(process.env.MINTMARK_TOKEN_FILE, 'utf8').trim()
  const res = await fetch(ISSUER + path, {
    method, headers: { authorization: 'Bearer ' + key, 'content-type': 'application/json' }, body: body && JSON.stringify(body),
  })
  const text = await res.text()
  if (!res.ok) throw new Error(`${method} ${path}: ${res.status} ${text}`)
  return text ? JSON.parse(text) : undefined
}

// register makes a client without an application, and gives it the public keys. What needs a key is set after it is there.
export async function register(settings, ...keys) {
  const body = { name: 'Interop', redirect_uris: [redirectURI], grant_types: ['authorization_code'], ...settings }
  const early = Object.fromEntries(Object.entries(body).filter(([name]) => !name.includes('encrypted')))
  const made = await manage('POST', '/api/clients', { confidential: true, ...early })
  for (const jwk of keys) await manage('POST', `/api/clients/${made.client_id}/keys`, { label: 'interop', jwk })
  if (keys.length) {
    const { confidential, ...rest } = body
    await manage('PUT', `/api/clients/${made.client_id}`, rest)
  }
  return made
}
