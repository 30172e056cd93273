/** Who visits the shop: device, language, address, and the account that some of them have. A seed and a number make a visitor, always the same. */
import { Random } from './random.ts'

export interface Device {
  readonly userAgent: string
  readonly width: number
  readonly height: number
  /** How readily one buys on it. */
  readonly buys: number
  readonly share: number
}

export interface Visitor {
  readonly anonymousId: string
  readonly device: Device
  readonly locale: string
  readonly ip: string
  /** Comes back, and buys. */
  readonly isLoyal: boolean
  /** Has an account from before the first visit that is seen. */
  readonly hasAccount: boolean
  readonly userId: string
  readonly name: string
  readonly email: string
  /** ISO 3166, two letters. */
  readonly country: string
  readonly plan: string
}

const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36'
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)'
const ANDROID = 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)'

/** The agents of browsers, with the shares that a shop sees. */
export const DEVICES: readonly Device[] = [
  desktop(20, CHROME),
  desktop(8, CHROME.replace('Windows NT 10.0; Win64; x64', 'Macintosh; Intel Mac OS X 10_15_7')),
  desktop(2, CHROME.replace('Windows NT 10.0; Win64; x64', 'X11; Linux x86_64')),
  desktop(6, `${CHROME} Edg/144.0.0.0`),
  desktop(5, 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:147.0) Gecko/20100101 Firefox/147.0'),
  desktop(1, 'Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0'),
  desktop(
    7,
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15',
  ),
  phone(22, `${IPHONE} Version/26.1 Mobile/15E148 Safari/604.1`),
  phone(2, `${IPHONE} CriOS/144.0.7559.52 Mobile/15E148 Safari/604.1`),
  phone(18, `${ANDROID} Chrome/144.0.0.0 Mobile Safari/537.36`),
  phone(4, `${ANDROID} SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36`),
  phone(1, 'Mozilla/5.0 (Android 15; Mobile; rv:147.0) Gecko/147.0 Firefox/147.0'),
  {
    share: 4,
    userAgent:
      'Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1',
    width: 820,
    height: 1180,
    buys: 0.9,
  },
]

const COUNTRIES = [
  { country: 'DE', locale: 'de-DE', share: 42 },
  { country: 'AT', locale: 'de-AT', share: 14 },
  { country: 'CH', locale: 'de-CH', share: 8 },
  { country: 'FR', locale: 'fr-FR', share: 9 },
  { country: 'NL', locale: 'nl-NL', share: 8 },
  { country: 'IT', locale: 'it-IT', share: 6 },
  { country: 'GB', locale: 'en-GB', share: 6 },
  { country: 'PL', locale: 'pl-PL', share: 4 },
  { country: 'ES', locale: 'es-ES', share: 3 },
]
const FIRST_NAMES = [
  'Anna',
  'Ben',
  'Clara',
  'David',
  'Emma',
  'Felix',
  'Greta',
  'Hugo',
  'Ines',
  'Jonas',
  'Lena',
  'Marta',
]
const LAST_NAMES = ['Bauer', 'Costa', 'Dubois', 'Fischer', 'Gruber', 'Jansen', 'Kowalski', 'Moreau', 'Novak', 'Rossi']
const PLANS = [
  { plan: 'free', share: 70 },
  { plan: 'plus', share: 24 },
  { plan: 'premium', share: 6 },
]

const share = (one: { readonly share: number }) => one.share

/** The visitor with this number. */
export function visitorOf(seed: string, number: number): Visitor {
  const random = new Random(seed, number)
  const [first, last] = [random.pick(FIRST_NAMES), random.pick(LAST_NAMES)]
  const isLoyal = random.chance(0.3)
  const userId = `u_${random.hex(8)}${random.hex(4)}`
  const { country, locale } = random.weighted(COUNTRIES, share)
  return {
    country,
    locale,
    plan: random.weighted(PLANS, share).plan,
    device: random.weighted(DEVICES, share),
    anonymousId: random.uuid(),
    ip: addressOf(random),
    isLoyal,
    hasAccount: random.chance(isLoyal ? 0.45 : 0.08),
    userId,
    name: `${first} ${last}`,
    email: `${first}.${last}.${userId.slice(-4)}@mail.example`.toLowerCase(),
  }
}

/** Of networks that belong to nobody: 198.18.0.0/15 is for measurements, 2001:db8::/32 for documents. */
function addressOf(random: Random): string {
  if (random.chance(0.6)) return `198.${random.between(18, 19)}.${random.between(0, 255)}.${random.between(1, 254)}`
  return `2001:db8:${random.hex(4)}:${random.hex(4)}::${random.hex(4)}`
}

function desktop(share: number, userAgent: string): Device {
  return { share, userAgent, width: 1536, height: 864, buys: 1.3 }
}

function phone(share: number, userAgent: string): Device {
  return { share, userAgent, width: 393, height: 852, buys: 0.75 }
}
