/** nginx for tests, from Debian's package, in front of several collectors: with the configuration that the documentation gives. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { waitUntil } from './collector.ts'
import { installPackage } from './packages.ts'

const PROGRAM = '/usr/sbin/nginx'
const DOCUMENTATION = join(import.meta.dir, '../../docs/operations.md')

export interface TestNginx {
  readonly url: string
  /** What it complained about. */
  complaints(): string
  /** Ends it and removes what it left. */
  dispose(): Promise<void>
}

/** Starts one in front of the collectors at these ports. */
export async function startTestNginx(ports: readonly number[]): Promise<TestNginx> {
  installPackage(PROGRAM, 'nginx-light')
  const directory = mkdtempSync(join(tmpdir(), 'penstock-test-nginx-'))
  const port = freePort()
  const complaints = join(directory, 'error.log')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(directory, name)};`,
  )
  writeFileSync(
    join(directory, 'nginx.conf'),
    `daemon off;
pid ${join(directory, 'nginx.pid')};
error_log ${complaints} warn;
${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 2;
events {}
http {
access_log off;
${paths.join('\n')}
${documented(port, ports)}
}
`,
  )
  const child = Bun.spawn([PROGRAM, '-p', directory, '-e', complaints, '-c', join(directory, 'nginx.conf')], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  const url = `http://127.0.0.1:${port}`
  const said = () => readFileSync(complaints, 'utf8')
  try {
    await waitUntil('nginx answers', async () => (await fetch(`${url}/stats`)).status === 404, 10_000)
  } catch (error) {
    throw new Error(`nginx does not start: ${said()}`, { cause: error })
  }
  return {
    url,
    complaints: said,
    async dispose() {
      child.kill('SIGTERM')
      await child.exited
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** The documented configuration with the addresses of the test. */
function documented(port: number, ports: readonly number[]): string {
  const [, text] = /^```nginx\n([\s\S]*?)^```/m.exec(readFileSync(DOCUMENTATION, 'utf8')) ?? []
  if (text === undefined) throw new Error(`there is no nginx configuration in ${DOCUMENTATION}`)
  const [line = '', address = ''] = /^ *server (\S+:\d+) .*\n/m.exec(text) ?? []
  const servers = ports.map((one) => line.replace(address, `127.0.0.1:${one}`)).join('')
  const withServers = text.replace(line, servers).replaceAll(/^ *server 10\..*\n/gm, '')
  return withServers.replace('listen 80;', `listen 127.0.0.1:${port};`)
}
