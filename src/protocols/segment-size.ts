/** How large a value is as JSON, for limits on parts of a body. */

/**
 * UTF-8 bytes of the value as JSON without spaces, which is how the SDKs of Segment and RudderStack count an event. How it was
 * written in the body does not matter. Goes without recursion: depth has no limit here.
 * @param value as parsed from JSON; a bigint counts as its digits
 */
export function jsonBytes(value: unknown): number {
  const left: unknown[] = [value]
  let bytes = 0
  while (left.length > 0) {
    const next = left.pop()
    if (typeof next === 'string') bytes += textBytes(next)
    else if (typeof next !== 'object' || next === null) bytes += String(next).length
    else if (Array.isArray(next)) {
      bytes += 2 + Math.max(0, next.length - 1)
      for (const element of next) left.push(element)
    } else {
      const object = next as Record<string, unknown>
      let keys = 0
      for (const key in object) {
        bytes += textBytes(key) + 1
        left.push(object[key])
        keys++
      }
      bytes += 2 + Math.max(0, keys - 1)
    }
  }
  return bytes
}

function textBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text))
}
