/**
 * When a call of Segment's API happened. A client's clock may be off, and a call may wait at the client before it is sent; but the
 * time between the two is right, whatever the clock says: received − (sentAt − originalTimestamp).
 */
import { isStorableTime } from '../timestamp.ts'

/** A call may seem to be sent this long before it happened: two clocks, or a rounded time. */
const BEFORE_SENT_TOLERANCE_MS = 1000

/**
 * All times in milliseconds since the epoch; NaN for one that the client did not send.
 *
 * Without the time it was sent, the client's time holds; without any, it happened when it was received. The client's time also holds when
 * the other one cannot be right: when the call was sent before it happened, or would have happened before all time (1900, where the
 * column begins). A result in the future is for the caller to see.
 */
export function occurredAt(receivedAt: number, originalAt: number, sentAt: number): number {
  if (Number.isNaN(originalAt)) return receivedAt
  const waitedMs = sentAt - originalAt
  const corrected = receivedAt - waitedMs
  return waitedMs >= -BEFORE_SENT_TOLERANCE_MS && isStorableTime(corrected) ? corrected : originalAt
}
