#!/usr/bin/env bun
/** The command line. Commands are loaded when they run, so that each starts fast. */
import { Command, CommanderError, Option } from 'commander'
import { version } from '../package.json'
import { CommandFailure, configOrFail } from './cli/session.ts'
import { renderVariables } from './config.ts'
import { boundHeap } from './heap.ts'

const program = command(new Command('penstock'))
  .description('An event collector for ClickHouse: every acknowledged event is stored exactly once.')
  .version(version)
  .addHelpText('after', () => `\nEnvironment:\n${indent(renderVariables('text'))}`)

command(program.command('serve'))
  .description('take events, until SIGTERM or SIGINT')
  .addOption(new Option('--worker <number>', 'what the supervisor starts').argParser(Number).hideHelp())
  .addOption(new Option('--drain', 'only send what the log holds').hideHelp())
  .addOption(new Option('--engine <name>', 'what the supervisor calls its ClickHouse').hideHelp())
  .action(async ({ worker, drain, engine }: { worker?: number; drain?: boolean; engine?: string }) => {
    const config = configOrFail()
    boundHeap()
    if (worker === undefined) {
      const { leftoverLogs, predecessorsGone, supervise } = await import('./supervisor.ts')
      await predecessorsGone(config)
      if (config.workers > 1 || leftoverLogs(config).length > 0) return supervise(config)
    }
    const serve = await import('./serve.ts')
    if (worker === undefined) return serve.serve(config)
    const { runWorker } = await import('./worker.ts')
    await runWorker(() => (drain ? serve.drain(config, worker, engine) : serve.serve(config, worker, engine)))
  })

command(program.command('migrate'))
  .description('bring the tables in ClickHouse (CLICKHOUSE_URL) up to date; `serve` does so too')
  .option('--again', 'run everything once more, for a node of CLICKHOUSE_CLUSTER that is new')
  .action(async (options) => (await import('./cli/migrate.ts')).migrateTables(options))

command(program.command('provision'))
  .description('make a workspace and its keys')
  .requiredOption('--tenant <name>', 'tenant, made when it is new')
  .requiredOption('--workspace <name>', 'workspace, new in its tenant')
  .option('--tier <tier>', 'rate limit of both keys: free, pro, enterprise, site, unlimited or events a minute')
  .option('--event-types <list>', 'types that POST /events takes, comma-separated, `default` or `any`', 'default')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/provision.ts')).provision(options))

const workspaces = command(program.command('workspaces')).description(
  'list and update workspaces, rotate their signing secrets',
)

command(workspaces.command('list'))
  .description('list workspaces')
  .option('--tenant <name>', 'only this tenant')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/workspaces.ts')).listWorkspaces(options))

command(workspaces.command('update'))
  .description('change a workspace')
  .requiredOption('--tenant <name>', 'tenant')
  .requiredOption('--workspace <name>', 'workspace')
  .requiredOption('--event-types <list>', 'types that POST /events takes, comma-separated, `default` or `any`')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/workspaces.ts')).updateWorkspace(options))

command(workspaces.command('rotate-signing-secret'))
  .description('replace the secret that requests of a workspace are signed with; the old one ends at once')
  .option('--tenant <name>', 'tenant')
  .option('--workspace <name>', 'workspace')
  .option('--all', 'of all workspaces: when the key of the signing secrets is lost')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/workspaces.ts')).rotateSigningSecret(options))

const keys = command(program.command('keys')).description('list, create, rotate and revoke keys')

command(keys.command('list'))
  .description('list keys, without the keys themselves')
  .option('--tenant <name>', 'only this tenant')
  .option('--workspace <name>', 'only workspaces of this name')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/keys.ts')).listKeys(options))

command(keys.command('create'))
  .description('make one more key for a workspace')
  .requiredOption('--tenant <name>', 'tenant')
  .requiredOption('--workspace <name>', 'workspace')
  .option('--kind <kind>', 'public (browsers) or secret (servers)', 'secret')
  .option('--scopes <list>', 'of ingest, read, admin, comma-separated (public: ingest; secret: ingest,read)')
  .option('--tier <tier>', 'free, pro, enterprise, site, unlimited or events a minute (public: site; secret: free)')
  .option('--expires-in <duration>', 'for example 90d (never)')
  .option('--origins <list>', 'web pages that may use it: https://shop.example,https://*.example.com (all)')
  .option('--signing <mode>', 'whether requests have to be signed: off, optional or required (off)')
  .option('--batch-events-max <number>', 'events in one request (as configured)')
  .option('--body-bytes-max <size>', 'size of a request body, for example 256KiB (as configured)')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/keys.ts')).createKey(options))

command(keys.command('rotate'))
  .description('replace a key; the old one goes on through the grace period')
  .argument('<id>', 'id of the key, as `keys list` shows it')
  .option('--grace <duration>', 'how long the old key goes on', '24h')
  .option('--json', 'print JSON')
  .action(async (id, options) => (await import('./cli/keys.ts')).rotateKey(id, options))

command(keys.command('revoke'))
  .description('end a key')
  .argument('<id>', 'id of the key, as `keys list` shows it')
  .option('--json', 'print JSON')
  .action(async (id, options) => (await import('./cli/keys.ts')).revokeKey(id, options))

const deadLetters = command(program.command('dead-letter')).description(
  'list, show, re-send and drop events that ClickHouse could not read',
)

command(deadLetters.command('list'))
  .description('list dead letters and why they were refused')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/dead-letters.ts')).listDeadLetters(options))

command(deadLetters.command('show'))
  .description('show what is in a dead letter, and what ClickHouse says to it now')
  .argument('<name>', 'as `dead-letter list` shows it')
  .option('--json', 'print JSON')
  .action(async (name, options) => (await import('./cli/dead-letters.ts')).showDeadLetter(name, options))

command(deadLetters.command('retry'))
  .description('send dead letters to ClickHouse again, and remove those it stores')
  .argument('[names...]', 'which (all)')
  .option('--json', 'print JSON')
  .action(async (names, options) => (await import('./cli/dead-letters.ts')).retryDeadLetters(names, options))

command(deadLetters.command('drop'))
  .description('remove dead letters for good')
  .argument('[names...]', 'which')
  .option('--yes', 'all of them, when none is named')
  .option('--json', 'print JSON')
  .action(async (names, options) => (await import('./cli/dead-letters.ts')).dropDeadLetters(names, options))

command(program.command('erase'))
  .description('remove people, on their request, from all tables')
  .requiredOption('--tenant <name>', 'tenant')
  .requiredOption('--workspace <name>', 'workspace')
  .option('--user <id>', 'user id; may be given several times', collect)
  .option('--users-from <file>', 'user ids, one a line; - for standard input')
  .option('--anonymous-id <id>', 'of a person without user id, or of a shared device; several times', collect)
  .option('--paths <what>', 'remove or keep counts whose path or type may name the person')
  .option('--drop-dead-letters', 'drop dead letters with events of the person, and of others in them')
  .option('--collector <url>', 'a collector elsewhere whose events are waited for; several times', collect)
  .option('--shard <url>', 'of a cluster without replicas: HTTP address of a shard; each of them', collect)
  .option('--wait <duration>', 'how long to wait for events on their way to ClickHouse', '60s')
  .option('--dry-run', 'only show what there is')
  .option('--yes', 'do not ask')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/erase.ts')).eraseCommand(options))

command(program.command('repair-deduplication'))
  .description('mend what kill -9 of a ClickHouse server of yours left, before it starts again')
  .argument('<directories...>', 'its data directory, and those of its other disks')
  .option('--json', 'print JSON')
  .action(async (directories, options) =>
    (await import('./cli/repair-deduplication.ts')).repairDeduplication(directories, options),
  )

command(program.command('seed'))
  .description('send the demo traffic of a web shop to a running collector: tenant demo, workspace shop')
  .option('--url <address>', 'of the collector (as HOST and PORT say)')
  .option('--key <key>', 'send into the workspace of this key instead')
  .option('--days <number>', 'how far back the events go, up to now', '7')
  .option('--events <number>', 'how many', '200000')
  .option('--visitors <number>', 'about how many there are (one for 15 events)')
  .option('--seed <text>', 'another one makes other visitors', '1')
  .option('--again', 'also when the workspace has events already: these are added')
  .option('--json', 'print JSON')
  .action(async (options) => (await import('./cli/seed.ts')).seed(options))

command(program.command('doctor'))
  .description('check everything that `serve` needs and say what is wrong')
  .option('--json', 'print JSON')
  .action(async (options) => {
    const { doctor } = await import('./cli/doctor.ts')
    if (!(await doctor(options))) process.exitCode = 1
  })

for (const group of [program, workspaces, keys, deadLetters]) refuseWithoutCommand(group)

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof CommanderError)) say(error instanceof CommandFailure ? error.message : unexpected(error))
  // At once: what `serve` had begun when it failed would keep the process alive.
  process.exit(error instanceof CommanderError ? error.exitCode : 1)
}

/** Errors are one line on stderr, and exceptions, so that the end of the process is in one place. */
function command(made: Command): Command {
  return made.exitOverride().configureOutput({ outputError: (text) => say(text.replace(/^error: /, '')) })
}

/** Without a command, and with one that does not exist, one line says which there are. */
function refuseWithoutCommand(group: Command): void {
  const names = group.commands.map((known) => known.name()).join(', ')
  group
    .usage('<command> [options]')
    .helpCommand(true)
    .argument('[command...]')
    .action(([given]: readonly string[]) => {
      const wrong = given === undefined ? 'no command given' : `unknown command ${JSON.stringify(given)}`
      group.error(`error: ${wrong}: choose one of ${names}, or --help`)
    })
}

/** Values of an option that may be given several times. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

function say(message: string): void {
  process.stderr.write(`error: ${message.trim().replaceAll(/\s*\n\s*/g, ' ')}\n`)
}

function unexpected(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error)
}

function indent(text: string): string {
  return text.replaceAll(/^(?=.)/gm, '  ')
}
