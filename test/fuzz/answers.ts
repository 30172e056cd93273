/** Holds every answer against the OpenAPI document: a documented status, a body of its schema, and the headers that belong to it. */
import Ajv, { type ValidateFunction } from 'ajv/dist/2020'
import { REJECTIONS } from '../../src/rejection.ts'
import type { RawAnswer } from '../support/raw-http.ts'
import type { Operation } from './operations.ts'

/** What may be answered at a path that is none, and for a method that is not the path's. */
const ELSEWHERE = [404, 405]

export class AnswerCheck {
  private readonly validators = new Map<string, ValidateFunction>()
  private readonly ajv: Ajv

  /** @param document OpenAPI 3.1 */
  constructor(document: object) {
    this.ajv = new Ajv({ strict: false, allErrors: false })
    this.ajv.addSchema(document, 'openapi')
  }

  /** What is wrong with an answer of the collector; undefined: nothing. */
  problem(operation: Operation | undefined, answer: RawAnswer, isHead = false): string | undefined {
    const { status, headers } = answer
    if (status >= 500 && status !== 503) return `status ${status}`
    if (headers['x-request-id'] === undefined) return `${status} without X-Request-Id`
    if ((status === 429 || status === 503) && !(Number(headers['retry-after']) >= 1))
      return `${status} without Retry-After`
    if (status === 429 && headers['x-ratelimit-limit'] === undefined) return '429 without X-RateLimit-Limit'
    if (status === 405 && headers.allow === undefined) return '405 without Allow'
    if (operation !== undefined && !operation.answers.has(status))
      return `${status} is not documented for ${operation.method} ${operation.path}`
    if (isHead || status === 101 || status === 204) return undefined
    // Pages of the documentation.
    if (operation === undefined && status === 200) return undefined
    // Text, such as metrics.
    if (status === operation?.successStatus && operation.answers.get(status) === undefined) return undefined
    const body = bodyOf(answer)
    if (body === undefined) return `${status}, and the body is not JSON: ${answer.body.slice(0, 200)}`
    const isElsewhere = operation === undefined && ELSEWHERE.includes(status)
    if (operation === undefined && !isElsewhere) return undefined
    const place = isElsewhere ? '/components/schemas/Error' : placeOf(operation as Operation, status)
    const wrong = this.check(place, body)
    if (wrong !== undefined)
      return `${status} with a body that the documentation does not have: ${wrong}: ${answer.body.slice(0, 300)}`
    return codeProblem(status, body)
  }

  private check(place: string, body: unknown): string | undefined {
    let validate = this.validators.get(place)
    if (validate === undefined) {
      validate = this.ajv.compile({ $ref: `openapi#${place}` })
      this.validators.set(place, validate)
    }
    return validate(body) ? undefined : this.ajv.errorsText(validate.errors)
  }
}

function placeOf({ method, path }: Operation, status: number): string {
  const escaped = path.replaceAll('~', '~0').replaceAll('/', '~1').replaceAll('{', '%7B').replaceAll('}', '%7D')
  return `/paths/${escaped}/${method.toLowerCase()}/responses/${status}/content/application~1json/schema`
}

/** A code belongs to one status. */
function codeProblem(status: number, body: unknown): string | undefined {
  const code = (body as { error?: { code?: string } } | null)?.error?.code
  if (typeof code !== 'string' || !(code in REJECTIONS)) return undefined
  return REJECTIONS[code as keyof typeof REJECTIONS].status === status ? undefined : `${code} with status ${status}`
}

/** The body as JSON, undefined when it is none. */
export function bodyOf(answer: RawAnswer): unknown {
  try {
    return JSON.parse(answer.body)
  } catch {
    return undefined
  }
}
