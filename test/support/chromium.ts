/** A real browser for tests: Debian's Chromium, without a window, with a profile of its own in a temporary directory. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContext, chromium } from 'playwright-core'
import { installPackage } from './packages.ts'

const PROGRAM = '/usr/bin/chromium'

/** Nothing that asks the network for anything but the test's own pages. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export interface TestBrowser {
  readonly context: BrowserContext
  readonly userAgent: string
  /** Ends it and removes its profile. */
  close(): Promise<void>
}

/** Starts a browser. It ends with this process, however that ends: it hangs on a pipe that we hold. */
export async function startBrowser(): Promise<TestBrowser> {
  installPackage(PROGRAM, 'chromium')
  const profile = mkdtempSync(join(tmpdir(), 'penstock-test-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: PROGRAM,
    headless: true,
    args: FLAGS,
  })
  const page = await context.newPage()
  const userAgent = await page.evaluate('navigator.userAgent')
  await page.close()
  return {
    context,
    userAgent: String(userAgent),
    async close() {
      await context.close()
      rmSync(profile, { recursive: true, force: true })
    },
  }
}
