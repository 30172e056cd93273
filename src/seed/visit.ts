/**
 * One visit to the shop, page by page: from where it begins to where it is left, which is the checkout's end for about three in a hundred.
 * Who orders has looked at a product, put it into the cart and begun the checkout in the same visit.
 */
import type { Draft } from '../draft.ts'
import {
  ARTICLES,
  CATEGORIES,
  CURRENCY,
  euros,
  PRODUCTS,
  type Product,
  popular,
  SEARCHES,
  type Search,
} from './catalogue.ts'
import { Browser } from './page.ts'
import type { Random } from './random.ts'
import { entryPath, type Source } from './sources.ts'
import type { Visitor } from './visitors.ts'

/** What the shop knows of a visitor: no account, one that is signed out, one that is signed in. */
export type Account = 'none' | 'out' | 'in'

/** What a visit left behind. */
export interface Visited {
  /** In the order of their times. */
  readonly drafts: readonly Draft[]
  readonly account: Account
  /** Milliseconds since 1970. */
  readonly endedMs: number
}

interface Item {
  readonly product: Product
  readonly quantity: number
}

const PAGES_MAX = 40
const COUPON = { code: 'HELLO10', part: 0.1 }

/** A visit that begins at `startMs` (milliseconds since 1970). */
export function visit(options: {
  readonly random: Random
  readonly visitor: Visitor
  readonly account: Account
  readonly source: Source
  readonly startMs: number
}): Visited {
  const course = new Course(options)
  course.run()
  const { account, browser } = course
  return { drafts: browser.drafts, account, endedMs: browser.nowMs }
}

class Course {
  readonly browser: Browser
  account: Account
  private readonly random: Random
  private readonly source: Source
  private readonly visitor: Visitor
  private readonly cart: Item[] = []
  /** How readily this visitor buys, 1 on the average. */
  private readonly intent: number

  constructor({ random, visitor, account, source, startMs }: Parameters<typeof visit>[0]) {
    // Loyal customers are seldom signed out.
    const isSignedIn = account === 'in' && random.chance(0.8)
    this.account = account === 'in' && !isSignedIn ? 'out' : account
    this.browser = new Browser({ random, visitor, isSignedIn, nowMs: startMs, referrer: source.referrer })
    this.random = random
    this.visitor = visitor
    this.source = source
    this.intent = source.buys * visitor.device.buys * (visitor.isLoyal ? 1.6 : 0.8)
  }

  run(): void {
    const bounces = this.random.chance(this.source.bounces)
    let next: string | undefined = this.show(entryPath(this.random, this.source), this.source.query)
    for (let page = 1; !bounces && next !== undefined && page < PAGES_MAX; page++) next = this.show(next)
  }

  /** Opens the page and gives the one to which the visit goes on; undefined at its end. */
  private show(path: string, query = ''): string | undefined {
    const [, kind, name = ''] = path.split('/')
    switch (kind) {
      case 'category':
        return this.showCategory(name, query)
      case 'product':
        return this.showProduct(name, query)
      case 'blog':
        return this.showArticle(name, query)
      case 'search':
        return this.showSearch()
      case 'cart':
        return this.showCart()
      case 'checkout':
        return this.showCheckout()
      case 'account':
        return this.showAccount()
      default:
        return this.showHome(query)
    }
  }

  private showHome(query: string): string | undefined {
    const { browser, random } = this
    browser.open('/', 'Home', {}, query)
    browser.read()
    return this.goOn([
      [44, '.categories a', () => `/category/${popular(random, CATEGORIES)}`],
      [16, 'form.search button', () => '/search'],
      [16, '.featured a', () => productPath(popular(random, PRODUCTS))],
      [6, 'nav .blog', () => `/blog/${popular(random, ARTICLES)}`],
      [this.account === 'out' ? 30 : 5, 'nav .account', () => '/account'],
      [13],
    ])
  }

  private showCategory(name: string, query: string): string | undefined {
    const { browser, random } = this
    const products = PRODUCTS.filter(({ category }) => category === name)
    browser.open(`/category/${name}`, name, { category: name, products: products.length }, query)
    browser.read()
    const chosen = popular(random, products)
    return this.goOn([
      [58, `.products li:nth-child(${products.indexOf(chosen) + 1}) a`, () => productPath(chosen)],
      [12, '.categories a', () => `/category/${random.pick(CATEGORIES)}`],
      [8, 'form.search button', () => '/search'],
      [22],
    ])
  }

  private showProduct(sku: string, query: string): string | undefined {
    const { browser, random } = this
    const product = PRODUCTS.find((known) => known.sku === sku) ?? (PRODUCTS[0] as Product)
    const { category } = product
    browser.open(productPath(product), product.name, { sku, category, price: euros(product.priceCents) }, query)
    browser.read()
    if (random.chance(0.3)) browser.click(`.gallery img:nth-child(${random.between(1, 4)})`)
    if (random.chance(Math.min(0.125 * this.intent, 0.6))) return this.addToCart(product)
    const related = random.pick(PRODUCTS.filter((other) => other.category === category))
    return this.goOn([
      [28, '.related a', () => productPath(related)],
      [22, '.breadcrumb a', () => `/category/${category}`],
      [6, 'form.search button', () => '/search'],
      [this.account === 'out' ? 8 : 1, 'nav .account', () => '/account'],
      [this.cart.length > 0 ? 20 : 0, '.cart-link', () => '/cart'],
      [40],
    ])
  }

  private addToCart(product: Product): string | undefined {
    const item = { product, quantity: this.random.chance(0.15) ? 2 : 1 }
    this.browser.click('button.add-to-cart')
    this.browser.tell('add_to_cart', { ...itemOf(item), currency: CURRENCY })
    this.cart.push(item)
    return this.goOn([
      [60, '.cart-link', () => '/cart'],
      [28, '.breadcrumb a', () => `/category/${product.category}`],
      [12],
    ])
  }

  private showSearch(): string | undefined {
    const { browser, random } = this
    const { query, results } = popular(random, SEARCHES_BY_USE)
    browser.open('/search', 'Search', {}, `q=${encodeURIComponent(query)}`)
    browser.tell('search', { query, results: results.length })
    browser.read()
    if (results.length === 0) {
      return this.goOn([
        [45, 'form.search button', () => '/search'],
        [20, '.categories a', () => `/category/${popular(random, CATEGORIES)}`],
        [35],
      ])
    }
    const chosen = popular(random, results)
    return this.goOn([
      [72, `.results li:nth-child(${results.indexOf(chosen) + 1}) a`, () => productPath(chosen)],
      [10, 'form.search button', () => '/search'],
      [18],
    ])
  }

  private showArticle(slug: string, query: string): string | undefined {
    const { browser, random } = this
    browser.open(`/blog/${slug}`, slug.replaceAll('-', ' '), {}, query)
    browser.read()
    return this.goOn([
      [22, 'article a.product', () => productPath(popular(random, PRODUCTS))],
      [14, '.more a', () => `/blog/${random.pick(ARTICLES)}`],
      [10, '.logo', () => '/'],
      [54],
    ])
  }

  private showCart(): string | undefined {
    const { browser, random, cart } = this
    browser.open('/cart', 'Cart', { items: cart.length })
    browser.read()
    const last = cart.at(-1)
    if (last !== undefined && random.chance(0.14)) {
      browser.click('.cart li:last-child .remove')
      browser.tell('remove_from_cart', { ...itemOf(last), currency: CURRENCY })
      cart.pop()
    }
    return this.goOn([
      [cart.length > 0 ? 62 : 0, 'button.checkout', () => '/checkout'],
      [16, '.continue', () => `/category/${popular(random, CATEGORIES)}`],
      [22],
    ])
  }

  private showCheckout(): string | undefined {
    const { browser, random, cart } = this
    browser.open('/checkout', 'Checkout')
    const items = cart.map(itemOf)
    browser.tell('checkout_started', { total: euros(totalOf(cart)), currency: CURRENCY, items })
    if (this.account === 'out' && random.chance(0.6)) this.signIn()
    browser.fill('address', 6)
    if (random.chance(0.22)) return undefined
    if (this.account === 'none' && random.chance(0.35)) this.signUp()
    browser.fill('payment', 4)
    if (random.chance(0.15)) return undefined
    browser.click('button.order')
    const hasCoupon = random.chance(this.source.query.includes('newsletter') ? 0.5 : 0.08)
    const total = euros(Math.round(totalOf(cart) * (hasCoupon ? 1 - COUPON.part : 1)))
    const order = { order_id: `O-${random.hex(8)}${random.hex(4)}`.toUpperCase(), total, currency: CURRENCY, items }
    browser.open('/thanks', 'Thank you')
    browser.tell('Order Completed', hasCoupon ? { ...order, coupon: COUPON.code } : order)
    cart.length = 0
    browser.read()
    return this.goOn([[10, '.logo', () => '/'], [90]])
  }

  private showAccount(): string | undefined {
    this.browser.open('/account', 'Account')
    if (this.account === 'out') this.signIn()
    else if (this.account === 'none' && this.random.chance(0.5)) this.signUp()
    this.browser.read()
    return this.goOn([[60, '.logo', () => '/'], [40]])
  }

  private signIn(): void {
    this.browser.fill('login', 2)
    this.becomeKnown()
  }

  private signUp(): void {
    this.browser.fill('signup', 4)
    this.browser.isSignedIn = true
    this.browser.tell('signup', { method: this.random.chance(0.7) ? 'email' : 'google', plan: this.visitor.plan })
    this.becomeKnown()
  }

  private becomeKnown(): void {
    const { email, plan, country, name } = this.visitor
    this.account = 'in'
    this.browser.isSignedIn = true
    this.browser.tell('identify', { email, plan, country, name })
  }

  /** Chooses by weight, clicks on what leads there and gives the path; undefined when nothing does. */
  private goOn(
    ways: readonly (readonly [weight: number, selector?: string, path?: () => string])[],
  ): string | undefined {
    const [, selector, path] = this.random.weighted(ways, ([weight]) => weight)
    if (selector === undefined || path === undefined) return undefined
    this.browser.click(selector)
    return path()
  }
}

/** What is not sold is looked for as often as other things. */
const SEARCHES_BY_USE: readonly Search[] = SEARCHES.toSorted(
  (one, other) => Bun.hash.crc32(one.query) - Bun.hash.crc32(other.query),
)

function productPath({ sku }: Product): string {
  return `/product/${sku}`
}

function itemOf({ product, quantity }: Item) {
  return { sku: product.sku, name: product.name, price: euros(product.priceCents), quantity }
}

function totalOf(cart: readonly Item[]): number {
  return cart.reduce((sum, { product, quantity }) => sum + product.priceCents * quantity, 0)
}
