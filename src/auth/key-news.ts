/**
 * News about keys, from who changes them (the command line) to every collector, so that a revoked key is refused at once and not
 * when the key cache's lifetime is over. They go through Redis, channel `penstock:keys`; a message is the id of the key that was
 * changed, or `*` when it may be any.
 */
import type { KeyCache } from './key-cache.ts'

const CHANNEL = 'keys'
const ANY = '*'

/** What is needed of Redis to spread news. */
export interface NewsSender {
  publish(channel: string, message: string): Promise<boolean>
}

/** What is needed of Redis to hear news. */
export interface NewsReceiver {
  subscribe(channel: string, listener: { message(text: string): void; missed(): void }): () => void
}

/** Says that a key, or without an id any key, was changed. False: it was not sent, caches follow within their lifetime. */
export function announceKeyChange(sender: NewsSender, keyId?: string): Promise<boolean> {
  return sender.publish(CHANNEL, keyId ?? ANY)
}

/** Lets the cache follow the news. Returns what ends it. */
export function followKeyChanges(receiver: NewsReceiver, cache: Pick<KeyCache, 'forget' | 'forgetAll'>): () => void {
  return receiver.subscribe(CHANNEL, {
    message: (text) => (text === ANY ? cache.forgetAll() : cache.forget(text)),
    missed: () => cache.forgetAll(),
  })
}
