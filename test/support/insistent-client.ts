/** A client as producers should be: it sends a batch again, the same events with the same ids, until it is acknowledged, and now and then once more. */
import type { Collector } from './collector.ts'
import { makeDraft } from './event-drafts.ts'

export interface InsistentClientOptions {
  /** Whom it sends to: asked before every attempt. */
  readonly collector: () => Collector
  readonly random: () => number
  /** Share of batches that are sent once more although they were acknowledged, by a second attempt beside the first or later. */
  readonly copies: number
  readonly batchEventsMax: number
}

const GIVE_UP_MS = 90_000

/** See the head of the file. */
export class InsistentClient {
  /** Ids of the events that were acknowledged. */
  readonly acknowledged = new Set<string>()
  /** Attempts by what came of them; 0: no answer. */
  readonly answers = new Map<number, number>()
  private readonly options: InsistentClientOptions
  private stopped = false

  constructor(options: InsistentClientOptions) {
    this.options = options
  }

  /** Sends batch after batch until `stop`; every batch that was begun is acknowledged when this resolves. */
  async run(): Promise<void> {
    const { random, copies } = this.options
    while (!this.stopped) {
      const batch = this.newBatch()
      if (random() < copies / 2) await Promise.all([this.insist(batch), this.insist(batch)])
      else await this.insist(batch)
      if (random() < copies / 2) await this.insist(batch)
      await Bun.sleep(random() * 10)
    }
  }

  stop(): void {
    this.stopped = true
  }

  private newBatch(): Record<string, unknown>[] {
    const { random, batchEventsMax } = this.options
    const length = 1 + Math.floor(random() * batchEventsMax)
    const batch = Array.from({ length }, () => makeDraft({ type: 'insistent', event_id: crypto.randomUUID() }))
    // Some clients have the same event twice in one batch.
    return random() < 0.2 ? [...batch, batch[0] ?? makeDraft()] : batch
  }

  private async insist(batch: readonly Record<string, unknown>[]): Promise<void> {
    const deadline = performance.now() + GIVE_UP_MS
    while ((await this.attempt(batch)) !== 201) {
      if (performance.now() > deadline) throw new Error(`not acknowledged: ${JSON.stringify([...this.answers])}`)
      await Bun.sleep(20 + this.options.random() * 50)
    }
    for (const { event_id: id } of batch) this.acknowledged.add(String(id))
  }

  private async attempt(batch: readonly Record<string, unknown>[]): Promise<number> {
    let status = 0
    try {
      const response = await this.options.collector().postEvents(batch)
      status = response.status
      await response.arrayBuffer()
    } catch {
      // No answer: the collector may have stored it or not.
    }
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1)
    return status
  }
}
