/** `POST /v1/events`, the canonical protocol: `{"events": [Event, …]}`, or NDJSON (see `events-ndjson.ts`). */
import type { RequestFacts } from '../draft.ts'
import { answer, refuse } from '../http/answer.ts'
import { readBody } from '../http/body.ts'
import type { Edge, Protocol } from '../http/edge.ts'
import { type MalformedJson, parseJson, parseJsonExactly } from '../json.ts'
import type { Drafts, Receipt } from '../pipeline.ts'
import { isRejection, type Rejection, reject } from '../rejection.ts'
import { receiveNdjson } from './events-ndjson.ts'

export const EVENTS_PATH = '/v1/events'

const NDJSON_TYPES = /^application\/(x-ndjson|ndjson|jsonl|x-jsonlines)\b/i

export const EVENTS_PROTOCOL: Protocol = { name: 'v1/events', receive: receiveEvents }

async function receiveEvents(edge: Edge, request: Request, facts: RequestFacts, requestId: string): Promise<Response> {
  if (NDJSON_TYPES.test(request.headers.get('content-type') ?? ''))
    return receiveNdjson(edge, request, facts, requestId)
  const body = await readBody(request, edge.limits.bodyBytesMax, edge.inFlight)
  if (isRejection(body)) return refuse(body, requestId)
  try {
    const drafts = parse(body.text, edge.limits.batchEventsMax)
    if (isRejection(drafts)) return refuse(drafts, requestId)
    const receipt = await edge.pipeline.accept(facts, drafts)
    return isRejection(receipt) ? refuse(receipt, requestId) : acknowledge(receipt, requestId)
  } finally {
    edge.inFlight.release(body.heldBytes)
  }
}

function parse(text: string, batchEventsMax: number): Drafts | Rejection {
  const parsed = parseJson(text)
  if ('malformed' in parsed) return malformed(parsed)
  const values = eventsOf(parsed.value)
  if (values === undefined || values.length === 0) {
    return reject('invalid_event', 'expected {"events": [event, …]} with at least one event', {
      details: [
        { path: 'events', message: values === undefined ? 'expected an array' : 'expected at least one event' },
      ],
    })
  }
  if (values.length > batchEventsMax)
    return reject('batch_too_large', `a batch may have ${batchEventsMax} events, this one has ${values.length}`)
  return { values, parseExactly: () => eventsOf(parseJsonExactly(text)) ?? [] }
}

function eventsOf(value: unknown): readonly unknown[] | undefined {
  const events = typeof value === 'object' && value !== null && 'events' in value ? value.events : undefined
  return Array.isArray(events) ? events : undefined
}

function malformed({ malformed: message }: MalformedJson): Rejection {
  return reject('malformed_json', message)
}

/** 201 when at least one event was taken, else 400. */
export function acknowledge(receipt: Receipt, requestId: string): Response {
  const { accepted, rejected, errors, warnings } = receipt
  if (accepted === 0) {
    const details = errors.map(({ index, path, message }) => ({ index, path, message }))
    return refuse(reject('invalid_event', 'no event of the request was acceptable', { details }), requestId)
  }
  if (rejected === 0 && warnings.length === 0) return answer(201, requestId, `{"accepted":${accepted},"rejected":0}`)
  return answer(
    201,
    requestId,
    JSON.stringify({
      accepted,
      rejected,
      ...(errors.length > 0 ? { errors } : {}),
      ...(warnings.length > 0 ? { warnings } : {}),
    }),
  )
}
