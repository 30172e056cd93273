/** What one scenario has started and made: ended and removed when it is over, however it ends. */
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export class Resources {
  private readonly ends: (() => Promise<void> | void)[] = []
  private closing: Promise<void> | undefined

  /** Calls `end` at the end, the last one added first. It may have happened before: it must bear that. */
  add(end: () => Promise<void> | void): void {
    this.ends.push(end)
  }

  /** A new directory, removed at the end. */
  directory(name: string): string {
    const path = mkdtempSync(join(tmpdir(), `penstock-bench-${name}-`))
    this.add(() => rmSync(path, { recursive: true, force: true }))
    return path
  }

  /** A child process that is killed at the end if it still runs then. */
  track<Child extends ChildProcess>(child: Child): Child {
    this.add(() => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    })
    return child
  }

  /** Ends everything. A second call waits for the first. */
  close(): Promise<void> {
    this.closing ??= this.endAll()
    return this.closing
  }

  private async endAll(): Promise<void> {
    for (const end of this.ends.reverse()) {
      try {
        await end()
      } catch (error) {
        process.stderr.write(`could not be ended: ${error instanceof Error ? error.message : String(error)}\n`)
      }
    }
  }
}
