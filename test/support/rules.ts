/** The alert rules, as the tests look at them. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { YAML } from 'bun'
import { GRAFANA } from './dashboards.ts'

export const RULES_FILE = join(GRAFANA, 'alerts/penstock.rules.yml')

/** A rule that alerts, or one that records. */
export interface Rule {
  readonly alert?: string
  readonly record?: string
  readonly expr: string
  readonly for?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export function readRules(): Rule[] {
  const { groups } = YAML.parse(readFileSync(RULES_FILE, 'utf8')) as { groups: { rules: Rule[] }[] }
  return groups.flatMap(({ rules }) => rules)
}
