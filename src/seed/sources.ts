/** Where visits come from, and the page they begin on. */
import { isNewsletterTime } from './calendar.ts'
import { ARTICLES, CATEGORIES, PRODUCTS, popular } from './catalogue.ts'
import type { Random } from './random.ts'

export interface Source {
  readonly referrer: string
  /** Of the entry page, `utm_…`; empty without a campaign. */
  readonly query: string
  readonly share: number
  /** How many leave at once. */
  readonly bounces: number
  /** How readily those buy who do not. */
  readonly buys: number
  /** Kinds of entry pages, the usual one more than once. */
  readonly entries: readonly ('home' | 'category' | 'product' | 'blog' | 'sale')[]
}

const GOOGLE = 'https://www.google.com/'
const FACEBOOK = 'https://www.facebook.com/'

const SOURCES: readonly Source[] = [
  source(24, '', '', 0.3, 1.2, ['home', 'home', 'home', 'category', 'product']),
  source(28, GOOGLE, '', 0.42, 1, ['product', 'product', 'category', 'home', 'blog']),
  source(10, GOOGLE, campaign('google', 'cpc', 'brand'), 0.35, 1.3, ['home', 'category']),
  source(7, GOOGLE, campaign('google', 'cpc', 'outdoor-season'), 0.4, 1.1, ['category', 'product']),
  source(5, 'https://www.bing.com/', '', 0.42, 1, ['product', 'category', 'home']),
  source(9, FACEBOOK, campaign('facebook', 'social', 'summer-looks'), 0.6, 0.5, ['product', 'blog']),
  source(4, FACEBOOK, '', 0.6, 0.5, ['blog', 'product']),
  source(5, 'https://reviews.example/tents', '', 0.45, 0.9, ['product', 'blog']),
]
const NEWSLETTER = source(6, '', campaign('newsletter', 'email', 'weekly'), 0.25, 1.6, ['sale', 'product', 'home'])
const NEWSLETTER_SHARE_WHEN_NEW = 60

/** Where a visit at this time comes from. */
export function sourceAt(random: Random, timeMs: number): Source {
  const newsletter = { ...NEWSLETTER, share: isNewsletterTime(timeMs) ? NEWSLETTER_SHARE_WHEN_NEW : NEWSLETTER.share }
  return random.weighted([...SOURCES, newsletter], ({ share }) => share)
}

/** The path of the page that a visit from there begins on. */
export function entryPath(random: Random, { entries }: Source): string {
  switch (random.pick(entries)) {
    case 'home':
      return '/'
    case 'sale':
      return '/category/sale'
    case 'category':
      return `/category/${popular(random, CATEGORIES)}`
    case 'product':
      return `/product/${popular(random, PRODUCTS).sku}`
    case 'blog':
      return `/blog/${popular(random, ARTICLES)}`
  }
}

function source(
  share: number,
  referrer: string,
  query: string,
  bounces: number,
  buys: number,
  entries: Source['entries'],
): Source {
  return { share, referrer, query, bounces, buys, entries }
}

function campaign(name: string, medium: string, title: string): string {
  return `utm_source=${name}&utm_medium=${medium}&utm_campaign=${title}`
}
