/** What the scanner asks of the process around it, because it is seldom needed or has a library for it. */
import { Entry } from './dictionary'

/** The float nearest to a number in JSON. */
export declare function parseNumber(at: usize, length: u32): f64

/** Writes the 16 bytes of a network address to `target`; false when the text is none. */
export declare function parseAddress(at: usize, length: u32, target: usize): bool

/** Writes the path of a page's address to `target`; gives its length, -1 when that is beyond `room`. */
export declare function pathOf(at: usize, length: u32, target: usize, room: u32): i32

/** Writes the host of a page's address to `target`; gives its length, -1 when that is beyond `room`. */
export declare function hostOf(at: usize, length: u32, target: usize, room: u32): i32

/** Calls `setAgent` for an entry of the dictionary of agents, with what its text says. */
export declare function readAgent(at: usize, length: u32, entry: Entry): void

/** Writes the UUIDv5 of an event id that is no UUID to `target`: 16 bytes, in ClickHouse's order. */
export declare function nameId(at: usize, length: u32, target: usize): void

/** Fills memory with random bytes. */
export declare function fillRandom(at: usize, length: u32): void
