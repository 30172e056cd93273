/** nginx for tests, from Debian's package, in front of several collectors: as the documentation sets it up, or as `deploy` does. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../src/sink/engine-setup.ts'
import { waitUntil } from './collector.ts'
import { installPackage } from './packages.ts'

const PROGRAM = '/usr/sbin/nginx'
const DOCUMENTATION = join(import.meta.dir, '../../docs/operations.md')
const DEPLOYED = join(import.meta.dir, '../../deploy/nginx/nginx.conf')

export interface TestNginx {
  readonly url: string
  /** What it complained about. */
  complaints(): string
  /** Ends it and removes what it left. */
  dispose(): Promise<void>
}

/** Starts one in front of the collectors at these ports, with what the documentation says. */
export function startTestNginx(ports: readonly number[]): Promise<TestNginx> {
  const http = (port: number) => `http {\naccess_log off;\n${documented(port, ports)}\n}`
  return start((port) => `worker_processes 2;\nevents {}\n${http(port)}\n`)
}

/** Starts one with the very file of docker-compose.yml; only addresses are others. */
export function startDeployedNginx(ports: readonly number[]): Promise<TestNginx> {
  return start((port) => deployed(port, ports))
}

/** @param configuration gives the whole file for a port to listen on */
async function start(configuration: (port: number) => string): Promise<TestNginx> {
  installPackage(PROGRAM, 'nginx-light')
  const directory = mkdtempSync(join(tmpdir(), 'penstock-test-nginx-'))
  const port = freePort()
  const complaints = join(directory, 'error.log')
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `${name}_temp_path ${join(directory, name)};`,
  )
  const text = configuration(port)
    .replace('error_log stderr warn;\n', '')
    .replace('http {', `http {\n${paths.join('\n')}`)
  const user = process.getuid?.() === 0 ? 'user root;' : ''
  const ours = `daemon off;\npid ${join(directory, 'nginx.pid')};\nerror_log ${complaints} warn;\n${user}\n`
  writeFileSync(join(directory, 'nginx.conf'), ours + text)
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

/** The deployed configuration with the addresses of the test. Debian's nginx is too old for `resolve`, which only names need. */
function deployed(port: number, ports: readonly number[]): string {
  const text = readFileSync(DEPLOYED, 'utf8')
  const servers = [...text.matchAll(/^ *server \S+:3000 .*resolve;\n/gm)].map(([line]) => line)
  if (servers.length !== ports.length) throw new Error(`${DEPLOYED} has ${servers.length} collectors`)
  return servers
    .reduce(
      (one, line, place) =>
        one.replace(line, line.replace(/\S+:3000/, `127.0.0.1:${ports[place]}`).replace(' resolve', '')),
      text,
    )
    .replace(/^ *resolver .*\n/m, '')
    .replace('listen 80;', `listen 127.0.0.1:${port};`)
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
