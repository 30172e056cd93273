/**
 * A producer on Node with the `ws` package, as it is: `node ws-client.mjs <url> <messages> <events a message>`. Sends everything at once,
 * and prints what it was answered.
 */
import { WebSocket } from 'ws'

const [url, messages, events] = process.argv.slice(2)
// Made before: making them may take longer than the collector needs to store them.
const texts = Array.from({ length: Number(messages) }, (_, seq) => JSON.stringify({ seq, events: batch() }))
const counts = { acknowledged: 0, accepted: 0, slowDowns: 0, pings: 0, others: 0 }
const socket = new WebSocket(url)

socket.on('ping', () => counts.pings++)
socket.on('open', () => {
  for (const text of texts) socket.send(text)
})
socket.on('message', (data) => {
  const answer = JSON.parse(data)
  if (answer.type === 'ack') {
    counts.acknowledged++
    counts.accepted += answer.accepted
  } else if (answer.type === 'slow_down') counts.slowDowns++
  else counts.others++
  if (counts.acknowledged === Number(messages)) socket.close()
})
socket.on('close', () => process.stdout.write(JSON.stringify(counts)))

function batch() {
  return Array.from({ length: Number(events) }, (_, n) => ({
    type: 'streamed',
    timestamp: new Date().toISOString(),
    session_id: crypto.randomUUID(),
    properties: { n, text: 'x'.repeat(200) },
  }))
}
