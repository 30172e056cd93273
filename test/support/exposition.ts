/** Reads the text format of Prometheus, strictly: https://prometheus.io/docs/instrumenting/exposition_formats/ */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly type: string
  readonly help: string
  readonly samples: readonly Sample[]
}

/** Everything of one scrape. */
export class Exposition {
  readonly families: ReadonlyMap<string, Family>

  /** Throws where a line is not as the format wants it. */
  constructor(text: string) {
    const families = new Map<string, { type: string; help: string; samples: Sample[] }>()
    let current = ''
    for (const line of text.split('\n')) {
      if (line === '') continue
      const [, keyword, name = '', rest = ''] = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line) ?? []
      if (keyword === 'HELP') {
        if (families.has(name)) throw new Error(`${name} comes twice`)
        families.set(name, { type: '', help: rest, samples: [] })
        current = name
      } else if (keyword === 'TYPE') {
        const family = families.get(name)
        if (family === undefined || current !== name) throw new Error(`a type without its help: ${line}`)
        family.type = rest
      } else {
        const family = families.get(current)
        const sample = parseSample(line)
        const isOfFamily =
          sample.name === current ||
          (family?.type === 'histogram' && new RegExp(`^${current}_(bucket|sum|count)$`).test(sample.name))
        if (!isOfFamily) throw new Error(`a sample outside of its family: ${line}`)
        family?.samples.push(sample)
      }
    }
    const series = [...families.values()].flatMap((family) => family.samples.map(seriesOf))
    if (new Set(series).size !== series.length) throw new Error('a series comes twice')
    this.families = families
  }

  /** Name and labels of every series. */
  get series(): string[] {
    return [...this.families.values()].flatMap((family) => family.samples.map(seriesOf))
  }

  /** The sum of all samples of that name that have these labels, among others; undefined when there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const found = this.samples(name, labels)
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0)
  }

  samples(name: string, labels: Readonly<Record<string, string>> = {}): Sample[] {
    const family = this.families.get(name) ?? this.families.get(name.replace(/_(bucket|sum|count)$/, ''))
    const isWanted = (sample: Sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value)
    return family?.samples.filter(isWanted) ?? []
  }
}

/** Scrapes a collector. */
export async function scrape({ url }: { readonly url: string }): Promise<Exposition> {
  const response = await fetch(`${url}/metrics`)
  const text = await response.text()
  if (response.status !== 200) throw new Error(`${response.status}: ${text}`)
  return new Exposition(text)
}

function parseSample(line: string): Sample {
  const match =
    /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\["\\n])*",?)*)\})? (\S+)$/.exec(line)
  const [, name, labels = '', text = ''] = match ?? []
  const value = text === '+Inf' ? Number.POSITIVE_INFINITY : Number(text)
  if (name === undefined || Number.isNaN(value)) throw new Error(`not a sample: ${line}`)
  const pairs = [...labels.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"/g)]
  return { name, value, labels: Object.fromEntries(pairs.map(([, label = '', text = '']) => [label, unescaped(text)])) }
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(["\\n])/g, (_, character) => (character === 'n' ? '\n' : character))
}

function seriesOf({ name, labels }: Sample): string {
  return `${name}${JSON.stringify(Object.entries(labels).sort())}`
}
