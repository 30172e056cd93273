/** What the documentation says of Segment's HTTP API. */
import { type TSchema, Type } from '@sinclair/typebox'
import { INGEST_REFUSALS, type Operation } from '../openapi/operation.ts'
import { ReceiptSchema } from './receipt-body.ts'
import { BatchSchema, CALL_EXAMPLES, CALL_SCHEMAS, CALL_TYPES, type CallType } from './segment-schema.ts'

const SHARED_DESCRIPTION = `Segment’s HTTP API: the libraries of Segment and RudderStack work with it when they are given this address as host. The key is
the user name of Basic authentication, or \`writeKey\` in the body.`

const AcknowledgementSchema = Type.Composite([
  Type.Object({ success: Type.Literal(true) }),
  Type.Partial(ReceiptSchema, { description: 'There when not everything was accepted as it came.' }),
])

const BATCH_EXAMPLE = {
  batch: CALL_TYPES.map((type) => ({ type, ...CALL_EXAMPLES[type] })),
  sentAt: '2026-11-20T08:09:10.123Z',
}

/** Of `POST /v1/<type>`. */
export function callOperation(type: CallType): Operation {
  const schema = CALL_SCHEMAS[type]
  return operation(`Send a call of type ${type}`, schema.description ?? '', schema, { [type]: CALL_EXAMPLES[type] })
}

/** Of `POST /v1/batch`. */
export const BATCH_OPERATION = operation(
  'Send many calls',
  `Calls of any type. Good ones of a mixed batch are kept and answered with 200; \`errors\` tells the others.`,
  BatchSchema,
  { batch: BATCH_EXAMPLE },
)

function operation(
  summary: string,
  description: string,
  schema: TSchema,
  examples: Readonly<Record<string, unknown>>,
): Operation {
  return {
    summary,
    description: `${description}\n\n${SHARED_DESCRIPTION}`,
    tag: 'Segment',
    key: 'header or body',
    body: { 'application/json': { schema, examples } },
    success: {
      status: 200,
      description: 'At least one call was accepted, and all that were are on disk.',
      schema: AcknowledgementSchema,
      example: { success: true },
    },
    refusals: INGEST_REFUSALS,
  }
}
