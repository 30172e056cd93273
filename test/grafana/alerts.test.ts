/** The alert rules: that they can be read, fire when they have to, and say what to do. */
import { expect, test } from 'bun:test'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GRAFANA } from '../support/dashboards.ts'
import { promtool } from '../support/prometheus.ts'
import { RULES_FILE, readRules } from '../support/rules.ts'
import { ALERT_CASES, type AlertCase, STEPS } from './alert-cases.ts'

const alerts = readRules().filter(({ alert }) => alert !== undefined)
const OPERATIONS = readFileSync(join(GRAFANA, '../docs/operations.md'), 'utf8')

test('Prometheus can read the rules', () => {
  expect(promtool('check', 'rules', RULES_FILE)).toMatchObject({ isContent: true })
})

test('every alert has a case in which it fires and one in which it does not', () => {
  expect(ALERT_CASES.map(({ alert }) => alert)).toEqual(alerts.map(({ alert }) => alert as string))
})

test.each(STEPS)(
  'every alert fires in the one case and keeps quiet in the other, in steps of %s',
  (step) => {
    const directory = mkdtempSync(join(tmpdir(), 'penstock-test-alerts-'))
    const file = join(directory, 'tests.yml')
    const tests = ALERT_CASES.filter((alertCase) => (alertCase.step ?? '15s') === step).flatMap(testsOf)
    // JSON is YAML, too.
    writeFileSync(file, JSON.stringify({ rule_files: [RULES_FILE], evaluation_interval: step, tests }))
    const result = promtool('test', 'rules', file)
    rmSync(directory, { recursive: true })
    expect(result).toMatchObject({ isContent: true })
  },
  120_000,
)

/** As promtool wants them. */
function testsOf({ alert, step = '15s', fires, quiet }: AlertCase) {
  const expr = `count by (alertname) (ALERTS{alertname="${alert}", alertstate="firing"})`
  const isOne = [{ labels: `{alertname="${alert}"}`, value: 1 }]
  return [
    { ...fires, exp_samples: isOne },
    { ...quiet, exp_samples: [] },
  ].map(({ series, at, exp_samples }) => ({
    interval: step,
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [{ expr, eval_time: at, exp_samples }],
  }))
}

test('every alert says how bad it is, what it means and what to do', () => {
  for (const { alert = '', labels = {}, annotations = {} } of alerts) {
    expect(labels.severity).toMatch(/critical|warning/)
    expect(Object.keys(annotations).sort()).toEqual(['description', 'runbook', 'runbook_url', 'summary'])
    expect(annotations.runbook_url).toBe(`docs/operations.md#${alert.toLowerCase()}`)
  }
})

test('docs/operations.md has a paragraph on every alert', () => {
  const missing = alerts.filter(({ alert }) => !OPERATIONS.includes(`\n### ${alert}\n`))
  expect(missing.map(({ alert }) => alert)).toEqual([])
})
