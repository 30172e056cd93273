/** What the demo shop sells and writes: the same whatever the seed, so that queries written for it go on working. */
import type { Random } from './random.ts'

export const SHOP = 'https://shop.example'
export const CURRENCY = 'EUR'

export interface Product {
  readonly sku: string
  readonly name: string
  readonly category: string
  /** In whole cents, so that totals add up. */
  readonly priceCents: number
}

export interface Search {
  readonly query: string
  /** Products found. */
  readonly results: readonly Product[]
}

const RANGES: readonly (readonly [category: string, code: string, lowest: number, highest: number, things: string])[] =
  [
    ['shoes', 'SH', 49, 189, 'Sneaker,Boot,Sandal,Loafer,Trail Shoe,Slipper'],
    ['jackets', 'JA', 79, 349, 'Rain Jacket,Parka,Down Jacket,Softshell,Blazer,Windbreaker'],
    ['bags', 'BA', 29, 199, 'Backpack,Tote,Messenger Bag,Duffel,Belt Bag,Weekender'],
    ['outdoor', 'OU', 12, 399, 'Tent,Sleeping Bag,Head Lamp,Camp Stove,Bottle,Trekking Poles'],
    ['kitchen', 'KI', 9, 149, 'Chef Knife,Pan,Kettle,Cutting Board,Coffee Grinder,Bowl'],
    ['books', 'BO', 8, 45, 'Field Guide,Cook Book,Atlas,Novel,Notebook,Calendar'],
    ['garden', 'GA', 6, 129, 'Pruner,Planter,Watering Can,Hose,Seed Box,Rake'],
    ['sale', 'SA', 5, 99, 'Beanie,Scarf,Gloves,Socks,Cap,T-Shirt'],
  ]
const LINES = ['Alpine', 'Harbour']

/** The most popular ones first. */
export const PRODUCTS: readonly Product[] = RANGES.flatMap(([category, code, lowest, highest, things]) =>
  things.split(',').flatMap((thing, place) =>
    LINES.map((line, edition): Product => {
      const number = place * LINES.length + edition
      const share = ((number * 7) % 12) / 11
      return {
        sku: `${code}-${String(101 + number)}`,
        name: `${line} ${thing}`,
        category,
        priceCents: Math.round(lowest + share * (highest - lowest)) * 100 - 10,
      }
    }),
  ),
).sort((one, other) => rank(one) - rank(other))

export const CATEGORIES: readonly string[] = RANGES.map(([category]) => category)

export const ARTICLES: readonly string[] = [
  'how-to-choose-a-tent',
  'ten-knives-compared',
  'waterproof-what-it-means',
  'a-balcony-in-spring',
  'packing-for-a-weekend',
]

const WORDS = ['boot', 'rain', 'jacket', 'backpack', 'tent', 'knife', 'pan', 'coffee', 'book', 'socks', 'alpine', 'bag']
/** What people look for and do not find. */
const NOT_SOLD = ['bicycle', 'snekaer', 'gift card', 'umbrella', 'size 48']

export const SEARCHES: readonly Search[] = [...WORDS, ...NOT_SOLD].map((query) => ({
  query,
  results: PRODUCTS.filter(({ name }) => name.toLowerCase().includes(query)),
}))

/** Amounts as events hold them. */
export function euros(cents: number): number {
  return cents / 100
}

/** One of a list whose first are the most popular (the second half as often as the first, and so on). */
export function popular<Value>(random: Random, values: readonly Value[]): Value {
  return values[Math.floor((values.length + 1) ** random.next() - 1)] as Value
}

/** Spreads the categories over the ranks, by the digits of the article number. */
function rank({ sku, category }: Product): number {
  return Bun.hash.crc32(`${sku}/${category}`)
}
