/**
 * Who may read journeys, and when. Few are read at the same time, so that readers do not slow down what is stored and leave connections to
 * ClickHouse for others; the rest wait in line, one line a workspace, and the lines take turns.
 */
import type { Journey, JourneyProblem, JourneyQuery } from './journey.ts'
import { type Problem, problem } from './problem.ts'

/** The client of ClickHouse has 10 connections. */
const READS_MAX = 6
const WORKSPACE_READS_MAX = 3
/** In one workspace; usually a read takes some 10 ms, and 10 s at most. */
const WORKSPACE_WAITING_MAX = 64

interface Line {
  reading: number
  readonly waiting: (() => void)[]
}

/** Reads one page; never rejects. */
type ReadJourney = (query: JourneyQuery) => Promise<Journey | JourneyProblem>

export class Journeys {
  private readonly readNow: ReadJourney
  private reading = 0
  /** In the order in which they have their turns; only of workspaces for which something is asked. */
  private readonly lines = new Map<string, Line>()

  constructor(readNow: ReadJourney) {
    this.readNow = readNow
  }

  /** Reads one page when it is its turn. Never rejects. */
  async read(query: JourneyQuery): Promise<Journey | JourneyProblem | Problem<'too_many_waiting'>> {
    const workspace = JSON.stringify([query.tenantId, query.workspaceId])
    const line = this.lines.get(workspace) ?? { reading: 0, waiting: [] }
    if (line.waiting.length >= WORKSPACE_WAITING_MAX)
      return problem('too_many_waiting', 'the workspace asks for too many journeys at once')
    this.lines.set(workspace, line)
    await new Promise<void>((begin) => {
      line.waiting.push(begin)
      this.beginNext()
    })
    const journey = await this.readNow(query)
    this.reading--
    line.reading--
    if (line.reading === 0 && line.waiting.length === 0) this.lines.delete(workspace)
    this.beginNext()
    return journey
  }

  private beginNext(): void {
    while (this.reading < READS_MAX) {
      const next = this.lines
        .entries()
        .find(([, { reading, waiting }]) => waiting.length > 0 && reading < WORKSPACE_READS_MAX)
      if (next === undefined) return
      const [workspace, line] = next
      this.lines.delete(workspace)
      this.lines.set(workspace, line)
      this.reading++
      line.reading++
      line.waiting.shift()?.()
    }
  }
}
