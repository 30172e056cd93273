/** That the tests expand queries as the documentation of Grafana and of its plugin for ClickHouse says. */
import { expect, test } from 'bun:test'
import { chosen } from '../../grafana/src/clickhouse.ts'
import { expandPromQl, expandSql, type QueryContext } from '../support/grafana.ts'

const CONTEXT: QueryContext = {
  from: new Date(1415792726123),
  to: new Date(1447328726456),
  intervalMs: 20_000,
  variables: { one: "it's", several: ['a.b', 'c'], all: { all: ['a', 'b'] }, any: { all: ['a'], allValue: '.*' } },
}

test.each([
  ['$__timeFilter(time)', 'time >= toDateTime(1415792726) AND time <= toDateTime(1447328726)'],
  [
    '$__timeFilter_ms(time)',
    'time >= fromUnixTimestamp64Milli(1415792726123) AND time <= fromUnixTimestamp64Milli(1447328726456)',
  ],
  ['$__dateFilter(date)', "date >= toDate('2014-11-12') AND date <= toDate('2015-11-12')"],
  ['$__fromTime - 1', 'toDateTime(1415792726) - 1'],
  ['$__toTime', 'toDateTime(1447328726)'],
  ['$__interval_s', '20'],
  ['$__timeInterval(column)', 'toStartOfInterval(toDateTime(column), INTERVAL 20 second)'],
  ['$__timeInterval(if(a, f(b), c))', 'toStartOfInterval(toDateTime(if(a, f(b), c)), INTERVAL 20 second)'],
  ['$__timeInterval_ms(column)', 'toStartOfInterval(toDateTime64(column, 3), INTERVAL 20000 millisecond)'],
  [`$__conditionalAll(x IN (${chosen('several')}), $several)`, "x IN ('a.b','c')"],
  [`$__conditionalAll(x IN (${chosen('all')}), $all) OR y`, '1=1 OR y'],
  [`x = ${chosen('one')}`, "x = 'it\\'s'"],
  [`x IN (${chosen('all')})`, "x IN ('a','b')"],
])('the plugin for ClickHouse makes of %s: %s', (sql, expanded) => {
  expect(expandSql(sql, CONTEXT)).toBe(expanded)
})

test.each([
  ['{a=~"$several"}', '{a=~"(a\\\\.b|c)"}'],
  ['{a=~"$any"}', '{a=~".*"}'],
  ['rate(b[$__rate_interval])', 'rate(b[60s])'],
  ['rate(b[$__interval])', 'rate(b[20s])'],
  ['increase(b[$__range])', 'increase(b[31536000s])'],
])('for Prometheus, Grafana makes of %s: %s', (expression, expanded) => {
  expect(expandPromQl(expression, CONTEXT)).toBe(expanded)
})

test.each([
  '$__timeFiltr(time)',
  '$nobody',
  `${chosen('one').replace('single', 'double')}`,
  '$__timeFilter',
  '$__timeFilter(a, b)',
])('what is none of theirs is an error: %s', (sql) => {
  expect(() => expandSql(sql, CONTEXT)).toThrow()
})
