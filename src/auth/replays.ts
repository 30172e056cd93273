/**
 * Remembers which signatures were used, so that each is good once. `redis-replays.ts` does so for several collectors.
 *
 * A signature holds until its timestamp plus the tolerance, and it is remembered until then, in slots of a minute by that moment. The
 * timestamp is under the signature, so the slot in which to look is known, and whole slots are dropped when they are over.
 *
 * When no more memory may be taken, the workspace that takes the most loses its slot that is over first, and from then on its timestamps of that
 * slot and of older ones are refused. So memory is bounded, a flood of signed requests makes the tolerance smaller for its own workspace
 * and for no other, and at no time is a signature good twice. (Except when the clock of this machine is set back, and then by as much.)
 */
import { SignatureSet } from './signature-set.ts'

/** One signature. */
export interface SignatureUse {
  /** Whose secret it was made with: `tenant/workspace`. */
  readonly workspace: string
  /** The 32 bytes. */
  readonly signature: Buffer
  /** Seconds since 1970 at which it is good no longer. */
  readonly expiresAtSeconds: number
}

/** `used`: before. `too_old`: it may have been used. `too_many`: there is no room even for the newest ones of this workspace. */
export type UseVerdict = 'fresh' | 'used' | 'too_old' | 'too_many'

export interface Replays {
  /** Marks it as used when the verdict is `fresh`. Never throws or rejects. */
  use(use: SignatureUse, nowSeconds: number): UseVerdict | Promise<UseVerdict>
  /** Its request did not get through: it may be used again. */
  forget(use: SignatureUse): void
  /** Numbers for `/stats`. */
  stats(): Readonly<Record<string, number>>
}

const SLOT_SECONDS = 60

/** Room for some two million signatures: 5,000 a second for as long as they are good. */
const BYTES_MAX = 32 * 1024 * 1024

/** What is remembered of one workspace. */
interface Used {
  readonly slots: Map<number, SignatureSet>
  bytes: number
  /** The latest slot that was lost before it was over. */
  lostSlot: number
}

/** See the head of this file. */
export class MemoryReplays implements Replays {
  readonly #bytesMax: number
  readonly #workspaces = new Map<string, Used>()
  #signatures = 0
  #bytes = 0
  #currentSlot = 0
  #lostSlots = 0

  /** @param bytesMax memory for the signatures of all workspaces together */
  constructor(bytesMax: number = BYTES_MAX) {
    this.#bytesMax = bytesMax
  }

  use({ workspace, signature, expiresAtSeconds }: SignatureUse, nowSeconds: number): UseVerdict {
    this.#forgetWhatIsOver(slotOf(nowSeconds))
    const slot = slotOf(expiresAtSeconds)
    const used = this.#workspaces.get(workspace) ?? { slots: new Map<number, SignatureSet>(), bytes: 0, lostSlot: 0 }
    if (slot <= used.lostSlot) return 'too_old'
    const signatures = used.slots.get(slot) ?? new SignatureSet()
    if (signatures.has(signature)) return 'used'
    if (this.#bytes >= this.#bytesMax) this.#makeRoom()
    if (slot <= used.lostSlot) return 'too_many'
    const bytesBefore = used.slots.has(slot) ? signatures.bytes : 0
    signatures.add(signature)
    used.slots.set(slot, signatures)
    this.#workspaces.set(workspace, used)
    this.#signatures++
    this.#count(used, signatures.bytes - bytesBefore)
    return 'fresh'
  }

  forget({ workspace, signature, expiresAtSeconds }: SignatureUse): void {
    if (this.#workspaces.get(workspace)?.slots.get(slotOf(expiresAtSeconds))?.remove(signature)) this.#signatures--
  }

  stats() {
    return { signatures: this.#signatures, bytes: this.#bytes, lost_slots: this.#lostSlots }
  }

  #forgetWhatIsOver(slot: number): void {
    if (slot === this.#currentSlot) return
    this.#currentSlot = slot
    for (const [workspace, used] of this.#workspaces) {
      for (const over of used.slots.keys()) if (over < slot) this.#drop(used, over)
      if (used.slots.size === 0 && used.lostSlot < slot) this.#workspaces.delete(workspace)
    }
  }

  #makeRoom(): void {
    let most: Used | undefined
    for (const used of this.#workspaces.values()) if (most === undefined || used.bytes > most.bytes) most = used
    if (most === undefined) return
    const first = Math.min(...most.slots.keys())
    this.#drop(most, first)
    most.lostSlot = first
    this.#lostSlots++
  }

  #drop(used: Used, slot: number): void {
    const signatures = used.slots.get(slot)
    if (signatures === undefined) return
    used.slots.delete(slot)
    this.#signatures -= signatures.size
    this.#count(used, -signatures.bytes)
  }

  #count(used: Used, bytes: number): void {
    used.bytes += bytes
    this.#bytes += bytes
  }
}

function slotOf(seconds: number): number {
  return Math.floor(seconds / SLOT_SECONDS)
}
