/** The columns of table `events`, in the order of `src/native/event-block.ts`, which also names them. */

export const TENANT_ID: u32 = 0
export const WORKSPACE_ID: u32 = 1
export const EVENT_ID: u32 = 2
export const MESSAGE_ID: u32 = 3
export const TYPE: u32 = 4
export const PROTOCOL: u32 = 5
export const OCCURRED_AT: u32 = 6
export const RECEIVED_AT: u32 = 7
export const SESSION_ID: u32 = 8
export const USER_ID: u32 = 9
export const ANONYMOUS_ID: u32 = 10
export const URL: u32 = 11
export const PATH: u32 = 12
export const REFERRER: u32 = 13
export const REFERRER_HOST: u32 = 14
export const TITLE: u32 = 15
export const LOCALE: u32 = 16
export const USER_AGENT: u32 = 17
export const BROWSER: u32 = 18
export const OS: u32 = 19
export const DEVICE: u32 = 20
export const IP: u32 = 21
export const SCHEMA_VERSION: u32 = 22
export const PROPERTIES: u32 = 23
export const CONTEXT: u32 = 24
export const COLUMNS: u32 = 25

/** How a column's data are laid out. */
export const enum Kind {
  /** Values of one size. */
  FIXED,
  /** Texts; a column of empty ones is left out, as are those of the next two when they have nothing in them. */
  TEXT,
  LOW_CARDINALITY,
  JSON,
}

export function kindOf(column: u32): Kind {
  switch (column) {
    case EVENT_ID:
    case OCCURRED_AT:
    case RECEIVED_AT:
    case IP:
      return Kind.FIXED
    case MESSAGE_ID:
    case SESSION_ID:
    case USER_ID:
    case ANONYMOUS_ID:
    case URL:
    case PATH:
    case REFERRER:
    case TITLE:
      return Kind.TEXT
    case PROPERTIES:
    case CONTEXT:
      return Kind.JSON
    default:
      return Kind.LOW_CARDINALITY
  }
}
