/**
 * Aggregates hold counts, and hashes of ids as states; no id. But the texts that are counted by are those of clients: a path such as
 * `/users/ada@shop.example/orders`, an event type with a name in it. Here those are found that hold an id of the person, or an e-mail address
 * that their traits tell, as a whole word: `u_42` in `/users/u_42`, not in `/users/u_421`.
 *
 * What is found may be something else: `/product/42` is no trace of user 42. So people decide, with `--paths`.
 */
import type { Person } from './person.ts'
import type { Store } from './store.ts'
import { AGGREGATES } from './tables.ts'

/** A text by which events are counted, and which may name the person. */
export interface FoundText {
  readonly table: string
  readonly column: string
  readonly text: string
}

/** What was found. */
export interface FoundTexts {
  /** The first 100,000. */
  readonly listed: readonly FoundText[]
  readonly total: number
}

/** Words in one query, in up to three forms each: ClickHouse searches for 255 at once. */
const WORDS_AT_ONCE = 80
/** About so many texts are held at one time. */
const TEXTS_AT_ONCE = 20_000
/** Kept for the report. The run's table has all of them. */
const TEXTS_LISTED_MAX = 100_000
/** An e-mail address in JSON text. */
const EMAIL = '[^\\s"\\\\@]+@[^\\s"\\\\@]+\\.[^\\s"\\\\@]+'

/** E-mail addresses in the person's traits: they have to be read before these are gone. */
export async function emailAddresses(store: Store, person: Person): Promise<string[]> {
  const [table] = await store.existing(['user_traits'])
  if (table === undefined) return []
  const rows = await store.rows<{ address: string }>(
    `SELECT DISTINCT arrayJoin(extractAll(latest.value, '${EMAIL.replaceAll('\\', '\\\\')}')) AS address
     FROM ${store.layout.table(table)} WHERE ${person.conditions.rowsOf('user_traits')} ORDER BY address`,
  )
  return rows.map(({ address }) => address)
}

/** Finds the texts, and notes all of them among the ids of the run. */
export async function findTexts(store: Store, person: Person, addresses: readonly string[]): Promise<FoundTexts> {
  const ids = [...(await person.ids('user')), ...(await person.ids('device'))]
  const words = [...ids.map((text) => wordOf(text, '')), ...addresses.map((text) => wordOf(text, 'i'))]
  const listed = new Map<string, FoundText>()
  for (let first = 0; first < words.length; first += WORDS_AT_ONCE) {
    const some = words.slice(first, first + WORDS_AT_ONCE)
    const scope = String(first)
    const forms = some.flatMap((word) => word.forms)
    await person.note('word', scope, forms)
    for (const table of await store.existing(Object.keys(AGGREGATES))) {
      const column = AGGREGATES[table] ?? ''
      for await (const candidates of candidatesOf(store, person, table, scope)) {
        const texts = candidates.filter((text) => some.some(({ pattern }) => pattern.test(text)))
        await person.note('text', table, texts)
        for (const text of texts.slice(0, TEXTS_LISTED_MAX - listed.size))
          listed.set(JSON.stringify([table, text]), { table, column, text })
      }
    }
  }
  return { listed: [...listed.values()], total: await person.countTexts() }
}

/**
 * Texts with one of the words in them, if only as a part of another: how many these are nobody knows before, so they come in portions. By a
 * hash, since the last text of a portion must not be in the next query: words go through the run's table, and no query has ids in it. And
 * without LIMIT, for which ClickHouse cuts its connection to a shard. With a word that others do not know a client cannot choose its portion.
 */
async function* candidatesOf(store: Store, person: Person, table: string, scope: string): AsyncGenerator<string[]> {
  const { conditions } = person
  const words = `(SELECT groupArray(id) FROM ${conditions.set('word', scope)})`
  const from = `FROM ${store.layout.table(table)}
    WHERE ${conditions.workspace} AND multiSearchAnyCaseInsensitiveUTF8(text, ${words})`
  const column = `toString(${AGGREGATES[table]}) AS text`
  const [row] = await store.rows<{ texts: number }>(`SELECT uniq(${column}) AS texts ${from}`)
  const portions = Math.ceil((row?.texts ?? 0) / TEXTS_AT_ONCE)
  for (let portion = 0; portion < portions; portion += 1) {
    const rows = await store.rows<{ text: string }>(
      `SELECT DISTINCT ${column} ${from} AND sipHash64(text, '${person.run.table}') % ${portions} = ${portion} ORDER BY text`,
    )
    yield rows.map(({ text }) => text)
  }
}

/** As it may stand in an address: plain, or percent-encoded. */
function wordOf(text: string, flags: string): { forms: string[]; pattern: RegExp } {
  const forms = [...new Set([text, encodeURIComponent(text), encodeURI(text)])]
  const pattern = `(?:^|[^A-Za-z0-9])(?:${forms.map(RegExp.escape).join('|')})(?:$|[^A-Za-z0-9])`
  return { forms, pattern: new RegExp(pattern, flags) }
}
