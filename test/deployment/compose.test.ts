/** docker-compose.yml, .env.example, the Makefile and what they mount: that they fit together, as far as that shows without Docker. */
import { afterAll, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { version } from '../../package.json'
import { loadConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config-variables.ts'
import { isProblem } from '../../src/problem.ts'
import { composeText, makeVariables, readCompose, readVariables } from '../support/compose.ts'
import { installPackage } from '../support/packages.ts'

const ROOT = join(import.meta.dir, '../..')
const directory = mkdtempSync(join(tmpdir(), 'penstock-test-compose-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const variables = makeVariables(directory)
const example = readVariables(join(ROOT, '.env.example'))
const { services, volumes } = readCompose(variables)
const all = Object.entries(services)
const collectors = all.filter(([, { image }]) => image.startsWith('penstock:'))

/** Runs a program in the directory that has an .env, with nothing else in its environment. */
function run(command: string[], options: { input?: string; path?: string } = {}) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, {
    cwd: directory,
    env: { PATH: options.path ?? '/usr/local/bin:/usr/bin:/bin', HOME: directory },
    stdin: new TextEncoder().encode(options.input ?? ''),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() }
}

test('what the .env says of the containers is not read by Penstock in the checkout', () => {
  const said = () => run([process.execPath, '-e', 'console.log(process.env.SIGNING_SECRETS_KEY)']).stdout.trim()
  expect(said()).toMatch(/^[0-9a-f]{64}$/)
  copyFileSync(join(ROOT, 'bunfig.toml'), join(directory, 'bunfig.toml'))
  expect(said()).toBe('undefined')
})

describe('the compose file', () => {
  test('is what Compose takes, and with an empty .env it says what to do', () => {
    const [compose = '', ...words] =
      run(['docker', 'compose', 'version']).exitCode === 0 ? ['docker', 'compose'] : ['docker-compose']
    // Not what it recommends, which is Docker itself.
    if (compose === 'docker-compose')
      installPackage('/usr/bin/docker-compose', 'docker-compose --no-install-recommends')
    const check = (env: string) =>
      run([compose, ...words, '-f', join(ROOT, 'docker-compose.yml'), '--env-file', env, 'config', '-q'])
    expect(check(join(directory, '.env'))).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    const refused = check(join(ROOT, '.env.example'))
    expect(refused.exitCode).not.toBe(0)
    expect(refused.stderr).toContain('run make .env')
  })

  test('takes from .env what .env.example explains, and nothing else', () => {
    const taken = new Set([...composeText().matchAll(/\$\{?(\w+)/g)].map(([, name]) => name))
    expect([...taken].sort()).toEqual(
      Object.keys(example)
        .filter((name) => name !== 'COMPOSE_PROJECT_NAME')
        .sort(),
    )
  })

  test('has the same defaults as .env.example, and none for a secret', () => {
    for (const [, name = '', kind, rest] of composeText().matchAll(/\$\{(\w+)(:-|:\?)([^}]*)\}/g)) {
      expect({ name, value: example[name] }).toEqual({ name, value: kind === ':?' ? '' : rest })
    }
    const secrets = Object.keys(example).filter((name) => /PASSWORD|KEY/.test(name))
    expect(secrets.filter((name) => example[name] !== '')).toEqual([])
  })

  test('names a version of every image, and of the collector this one', () => {
    for (const [name, { image }] of all)
      expect({ name, image }).toEqual({ name, image: expect.stringMatching(/^[a-z/-]+:v?\d[\w.-]*$/) })
    expect(new Set(collectors.map(([, { image }]) => image))).toEqual(new Set([`penstock:${version}`]))
  })

  test('wants at least the ClickHouse that the tables want', () => {
    const [, year, month] = /:(\d+)\.(\d+)$/.exec(services.clickhouse?.image ?? '') ?? []
    expect(Number(year) * 100 + Number(month)).toBeGreaterThanOrEqual(2604)
  })

  test('shows the world the balancer, and everything else to this machine at most', () => {
    const published = all.flatMap(([name, { ports }]) => (ports ?? []).map((port) => [name, port.split(':')[0]]))
    expect(published.filter(([name]) => name !== 'nginx').map(([, address]) => address)).toEqual([
      '127.0.0.1',
      '127.0.0.1',
      '127.0.0.1',
    ])
    expect(published.map(([name]) => name).sort()).toEqual(['clickhouse', 'grafana', 'nginx', 'prometheus'])
  })

  test('looks after every service: whether it is well, that it comes back, how much memory it may have, time to end', () => {
    for (const [name, service] of all) {
      const { restart, mem_limit, stop_grace_period, healthcheck } = service
      const isLookedAt =
        healthcheck !== undefined || readFileSync(join(ROOT, 'Dockerfile'), 'utf8').includes('HEALTHCHECK')
      expect({ name, restart, isLookedAt }).toEqual({ name, restart: 'unless-stopped', isLookedAt: true })
      expect(mem_limit).toMatch(/^\d+[mg]$/)
      expect(stop_grace_period).toMatch(/^\d+s$/)
    }
  })

  test('keeps what has to last in volumes, and gives every collector one of its own', () => {
    const named = all.flatMap(([, service]) => (service.volumes ?? []).filter((volume) => /^\w/.test(volume)))
    expect(named.map((volume) => volume.split(':')[0]).sort()).toEqual(Object.keys(volumes).sort())
    const places = all
      .filter(([, service]) => service.volumes?.some((volume) => /^\w/.test(volume)))
      .map(([name]) => name)
    expect(places.sort()).toEqual(
      all
        .map(([name]) => name)
        .filter((name) => name !== 'nginx')
        .sort(),
    )
  })

  test('mounts what is there', () => {
    const mounted = all.flatMap(([, service]) => (service.volumes ?? []).filter((volume) => volume.startsWith('./')))
    expect(mounted.length).toBeGreaterThan(5)
    for (const mount of mounted) {
      const [path = '', target = '', mode] = mount.split(':')
      const isFile = statSync(join(ROOT, path)).isFile()
      expect({ path, isFile, mode }).toEqual({ path, isFile: /\.\w+$/.test(target), mode: 'ro' })
    }
  })
})

describe('the collectors of the compose file', () => {
  test('are two that differ in nothing but their volume and who builds the image', () => {
    expect(collectors.map(([name]) => name)).toEqual(['collector-1', 'collector-2'])
    const alike = collectors.map(([, { volumes: _, build: __, ...rest }]) => rest)
    expect(alike[0]).toEqual(alike[1] as (typeof alike)[0])
  })

  test('are told only what Penstock reads, and it accepts it', () => {
    for (const [, { environment = {} }] of collectors) {
      expect(Object.keys(environment).filter((name) => !(name in VARIABLES.properties))).toEqual([])
      const config = loadConfig(environment)
      expect(isProblem(config) ? config.message : 'accepted').toBe('accepted')
    }
  })

  test('are given more time to end than they take', () => {
    for (const [, { environment, stop_grace_period }] of collectors) {
      expect(Number.parseInt(stop_grace_period ?? '', 10) * 1000).toBeGreaterThan(
        Number(environment?.SHUTDOWN_DEADLINE_MS) + 10_000,
      )
    }
  })
})

describe('nginx', () => {
  test('is set up as the documentation says', () => {
    const [, documented = ''] =
      /^```nginx\n([\s\S]*?)^```/m.exec(readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')) ?? []
    const plain = (text: string) =>
      text
        .split('\n')
        .map((line) => line.replace(/#.*/, '').trim())
        .filter((line) => line !== '' && !line.startsWith('server ') && !line.startsWith('resolver '))
    const deployed = plain(readFileSync(join(ROOT, 'deploy/nginx/nginx.conf'), 'utf8')).join('\n')
    expect(plain(documented).length).toBeGreaterThan(25)
    expect(deployed).toContain(plain(documented).join('\n'))
  })
})

describe('the Makefile', () => {
  test('lists every command when it is asked for none', () => {
    const { stdout, exitCode } = run(['make'])
    expect(exitCode).toBe(0)
    const [, phony = ''] = /^\.PHONY: (.*)$/m.exec(readFileSync(join(ROOT, 'Makefile'), 'utf8')) ?? []
    for (const name of phony.split(' ')) expect(stdout).toMatch(new RegExp(`^ +make ${name} +\\S`, 'm'))
  })

  test('makes an .env for its owner alone, with secrets that nobody else has, and leaves one alone that is there', () => {
    expect(statSync(join(directory, '.env')).mode & 0o777).toBe(0o600)
    const secrets = Object.keys(example)
      .filter((name) => example[name] === '')
      .map((name) => variables[name] ?? '')
    for (const secret of secrets) expect(secret).toMatch(/^[0-9a-f]{64}$/)
    expect(new Set(secrets).size).toBe(secrets.length)
    expect(Object.keys(variables)).toEqual(Object.keys(example))
    const before = readFileSync(join(directory, '.env'), 'utf8')
    run(['touch', '-d', 'tomorrow', '.env.example'])
    expect(run(['make', '.env']).exitCode).toBe(0)
    expect(readFileSync(join(directory, '.env'), 'utf8')).toBe(before)
  })

  test('takes `docker compose`, and `docker-compose` where that is not there', () => {
    const programs = mkdtempSync(join(directory, 'bin-'))
    const path = `${programs}:/usr/bin:/bin`
    const stand = (status: number) => {
      writeFileSync(join(programs, 'docker'), `#!/bin/sh\nexit ${status}\n`)
      chmodSync(join(programs, 'docker'), 0o755)
      return run(['make', '-n', 'down'], { path }).stdout
    }
    expect(stand(0)).toBe('docker compose down\n')
    expect(stand(1)).toBe('docker-compose down\n')
  })

  test('replaces one collector after the other, and goes on when the first one is well', () => {
    const steps = run(['make', '-n', 'update']).stdout
    const [first, second] = [
      steps.indexOf('--force-recreate collector-1'),
      steps.indexOf('--force-recreate collector-2'),
    ]
    expect(first).toBeGreaterThan(0)
    expect(steps.slice(first, second)).toContain('.State.Health.Status')
  })

  test('removes volumes only after a yes', () => {
    for (const input of ['', 'y\n', 'no\n']) expect(run(['make', 'clean'], { input }).exitCode).not.toBe(0)
    expect(run(['make', '-n', 'clean']).stdout).toContain('down --volumes')
  })
})
