/**
 * `GET /users/:userId/journey?from&to&limit&cursor`: the events of one user of the key's workspace, newest first. The only door that reads:
 * the key needs the scope `read`, which public keys never have.
 */
import { Type } from '@sinclair/typebox'
import { presentedKey } from '../auth/presented-key.ts'
import { expected } from '../event-reading.ts'
import { answer } from '../http/answer.ts'
import { admit, type Door, refuseVisit, type Visit } from '../http/edge.ts'
import { verify } from '../http/signed.ts'
import type { JourneyQuery } from '../journey.ts'
import type { Operation } from '../openapi/operation.ts'
import { isProblem } from '../problem.ts'
import { type Detail, isRejection, type Rejection, reject } from '../rejection.ts'
import { logFields } from '../telemetry/log-fields.ts'
import { parseTimestamp, readMilliseconds } from '../timestamp.ts'

const LIMIT_MAX = 1000
const LIMIT_USUAL = 100
const TIME_WANTED = 'an ISO 8601 time or milliseconds since 1970, of the years 1900 to 2299'

export const JOURNEY_DOOR: Door = {
  name: 'users/journey',
  async receive(visit) {
    const body = await read(visit)
    const response = isRejection(body) ? refuseVisit(visit, body) : answer(200, visit.requestId, body)
    response.headers.set('cache-control', 'no-store') // a cache on the way may not know that the answer is the key's alone
    return response
  },
}

/** The answer's body. */
async function read(visit: Visit): Promise<string | Rejection> {
  const { edge, request } = visit
  const context = await admit(visit, presentedKey(request.headers), 'read')
  if (isRejection(context)) return context
  const signature = await verify(context, request, undefined, false)
  if (isRejection(signature)) return signature
  const question = readQuestion(request.url)
  if (isRejection(question)) return question
  const { tenantId, workspaceId } = context.key
  const journey = await edge.journeys.read({ ...question, tenantId, workspaceId })
  if (isProblem(journey)) {
    const { problem, message } = journey
    if (problem === 'invalid_cursor') return wrongParameters([{ path: 'cursor', message }])
    if (problem === 'too_many_waiting') return reject('overloaded', message)
    edge.logger.warn({ problem, ...logFields(context) }, message)
    if (problem === 'too_much_asked') return reject('overloaded', TOO_MUCH_ASKED)
    return reject('overloaded', 'ClickHouse does not answer: events are accepted, but cannot be read at the moment')
  }
  const { events, nextCursor } = journey
  const next = nextCursor === undefined ? '' : `,"next_cursor":${JSON.stringify(nextCursor)}`
  return `{"userId":${JSON.stringify(question.userId)},"count":${events.length},"events":[${events.join()}]${next}}`
}

const TOO_MUCH_ASKED =
  'the events are more than ClickHouse may use for one question: ask for fewer of them (limit) or for a shorter time (from, to)'

/** What is asked, out of the path and the query. */
function readQuestion(url: string): Omit<JourneyQuery, 'tenantId' | 'workspaceId'> | Rejection {
  const [, user = '', query = ''] = /\/users\/([^/?]+)\/journey\/?(?:\?(.*))?$/.exec(url) ?? []
  // A plus is no space here: it stands before the zone of a time.
  const parameters = new URLSearchParams(query.replaceAll('+', '%2B'))
  const wrong: Detail[] = []
  const take = <Value>(path: string, parse: (text: string) => Value | undefined, wanted: string): Value | undefined => {
    const text = path === 'userId' ? user : parameters.get(path)
    if (text === null) return undefined
    const value = parse(text)
    if (value === undefined) wrong.push({ path, message: expected(wanted, text) })
    return value
  }
  const question = {
    userId: take('userId', parseUserId, 'a user id in percent-encoding') ?? '',
    from: take('from', parseTime, TIME_WANTED),
    to: take('to', parseTime, TIME_WANTED),
    limit: take('limit', parseLimit, `a whole number from 1 to ${LIMIT_MAX}`) ?? LIMIT_USUAL,
    cursor: parameters.get('cursor') ?? undefined,
  }
  const { from, to } = question
  if (from !== undefined && to !== undefined && from > to)
    wrong.push({ path: 'to', message: expected('a time that is not before from', parameters.get('to')) })
  return wrong.length === 0 ? question : wrongParameters(wrong)
}

function wrongParameters(details: readonly Detail[]): Rejection {
  return reject('invalid_event', `wrong parameters: ${details.map(({ path }) => path).join(', ')}`, { details })
}

/** Undefined for what is not UTF-8 in percent-encoding. */
function parseUserId(text: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function parseTime(text: string): number | undefined {
  const timeMs = /^-?\d{1,15}$/.test(text) ? readMilliseconds(Number(text)) : parseTimestamp(text)
  return Number.isNaN(timeMs) ? undefined : timeMs
}

function parseLimit(text: string): number | undefined {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  return limit >= 1 && limit <= LIMIT_MAX ? limit : undefined
}

const EventSchema = Type.Object(
  {
    event_id: Type.String({ description: 'As the client sent it, or as it was made here.' }),
    type: Type.String(),
    occurred_at: Type.String({ description: 'ISO 8601.' }),
    received_at: Type.String({ description: 'ISO 8601.' }),
    protocol: Type.String({ description: 'Through which door it came.' }),
    properties: Type.Object({}),
    context: Type.Optional(Type.Object({})),
  },
  { description: 'With the names of the columns of `events`; what is empty is left out.' },
)

const TIME = Type.String({ description: 'ISO 8601, or milliseconds since 1970.' })

export const JOURNEY_OPERATION: Operation = {
  summary: 'Read one user’s events, newest first',
  description: `Of the key's workspace alone; the key needs the scope \`read\`. While there are older events \`next_cursor\` leads to them: send it
as \`cursor\` with the same \`from\` and \`to\`. An answer ends at 8 MiB of events, whatever the limit. Events are there when they are in ClickHouse, about a second after they were accepted.`,
  tag: 'Queries',
  key: 'header',
  parameters: [
    {
      name: 'userId',
      in: 'path',
      description: 'The `user_id` of the events, percent-encoded.',
      required: true,
      schema: Type.String({ minLength: 1 }),
      example: 'user-42',
    },
    { name: 'from', in: 'query', description: 'Not before this time.', required: false, schema: TIME },
    { name: 'to', in: 'query', description: 'Before this time.', required: false, schema: TIME },
    {
      name: 'limit',
      in: 'query',
      description: 'Events in one answer.',
      required: false,
      schema: Type.Integer({ minimum: 1, maximum: LIMIT_MAX, default: LIMIT_USUAL }),
      example: 10,
    },
    {
      name: 'cursor',
      in: 'query',
      description: '`next_cursor` of an answer to the same question.',
      required: false,
      schema: Type.String(),
    },
  ],
  success: {
    status: 200,
    description: 'A page of events; an empty one when the user has none.',
    schema: Type.Object({
      userId: Type.String(),
      count: Type.Integer({ minimum: 0, description: 'Of the events in this answer.' }),
      events: Type.Array(EventSchema),
      next_cursor: Type.Optional(Type.String({ description: 'There while there are older events.' })),
    }),
    example: {
      userId: 'user-42',
      count: 1,
      events: [
        {
          event_id: 'order-17',
          type: 'purchase',
          occurred_at: '2026-11-20T08:09:10.123Z',
          received_at: '2026-11-20T08:09:10.456Z',
          protocol: 'events',
          user_id: 'user-42',
          properties: { amount: 19.9 },
        },
      ],
    },
  },
  refusals: ['invalid_event', 'unauthorized', 'forbidden', 'internal', 'overloaded'],
}
