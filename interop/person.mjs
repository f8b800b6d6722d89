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
