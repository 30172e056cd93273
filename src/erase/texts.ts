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

/** Words in one query, in up to three forms each: ClickHouse searches for 255 at once. */
const WORDS_AT_ONCE = 80
/** Looked at for so many words in one aggregate. Who has more has an id that is an everyday word. */
const TEXTS_MAX = 100_000
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

/** Finds the texts, and notes them among the ids of the run. */
export async function findTexts(store: Store, person: Person, addresses: readonly string[]): Promise<FoundText[]> {
  const ids = [...(await person.ids('user')), ...(await person.ids('device'))]
  const words = [...ids.map((text) => wordOf(text, '')), ...addresses.map((text) => wordOf(text, 'i'))]
  const found: FoundText[] = []
  for (let first = 0; first < words.length; first += WORDS_AT_ONCE) {
    const some = words.slice(first, first + WORDS_AT_ONCE)
    const scope = String(first)
    await person.note(
      'word',
      scope,
      some.flatMap(({ forms }) => forms),
    )
    for (const table of await store.existing(Object.keys(AGGREGATES))) {
      const column = AGGREGATES[table] ?? ''
      const texts = (await candidates(store, person, table, scope)).filter((text) =>
        some.some(({ pattern }) => pattern.test(text)),
      )
      await person.note('text', table, texts)
      found.push(...texts.map((text) => ({ table, column, text })))
    }
  }
  const isNew = new Set<string>()
  return found.filter(({ table, text }) => isNew.size < isNew.add(JSON.stringify([table, text])).size)
}

/** Texts with one of the words in them, if only as a part of another. The words go through the run's table: no query has ids in it. */
async function candidates(store: Store, person: Person, table: string, scope: string): Promise<string[]> {
  const { conditions } = person
  const words = `(SELECT groupArray(id) FROM ${conditions.set('word', scope)})`
  const rows = await store.rows<{ text: string }>(
    `SELECT DISTINCT toString(${AGGREGATES[table]}) AS text FROM ${store.layout.table(table)}
     WHERE ${conditions.workspace} AND multiSearchAnyCaseInsensitiveUTF8(text, ${words}) ORDER BY text LIMIT ${TEXTS_MAX}`,
  )
  return rows.map(({ text }) => text)
}

/** As it may stand in an address: plain, or percent-encoded. */
function wordOf(text: string, flags: string): { forms: string[]; pattern: RegExp } {
  const forms = [...new Set([text, encodeURIComponent(text), encodeURI(text)])]
  const pattern = `(?:^|[^A-Za-z0-9])(?:${forms.map(RegExp.escape).join('|')})(?:$|[^A-Za-z0-9])`
  return { forms, pattern: new RegExp(pattern, flags) }
}
