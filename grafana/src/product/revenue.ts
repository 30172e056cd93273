/** What is earned: `Order Completed` events with `total` and `currency`. */

import type { Row } from '../assemble.ts'
import { numberAt, OCCURRED, rows, series, textAt, WORKSPACE } from '../clickhouse.ts'
import { stat, table, timeseries } from '../panels.ts'

const TOTAL = numberAt('properties.total')
const ORDERS = `FROM events
  WHERE ${WORKSPACE} AND type = 'Order Completed' AND ${OCCURRED}`

export const REVENUE: Row = {
  title: 'What do they buy?',
  panels: [
    timeseries({
      title: 'Revenue',
      description: 'Sum of `total` of the Order Completed events, by currency.',
      unit: 'short',
      width: 12,
      bars: true,
      interval: '1h',
      legend: ['sum'],
      queries: [
        series(`
          SELECT $__timeInterval(occurred_at) AS time, ${textAt('properties.currency')} AS currency, sum(${TOTAL}) AS revenue
          ${ORDERS}
          GROUP BY time, currency
          ORDER BY time, currency`),
      ],
    }),
    stat({
      title: 'Orders',
      description: 'Order Completed events.',
      unit: 'short',
      height: 8,
      queries: [rows(`SELECT count() AS orders ${ORDERS}`)],
    }),
    table({
      title: 'Products',
      description:
        'Pieces sold and what was paid for them, by `items` of the orders; prices of all currencies are added.',
      unit: 'short',
      gauges: ['revenue'],
      queries: [
        rows(`
          SELECT
              JSONExtractString(item, 'sku') AS sku,
              any(JSONExtractString(item, 'name')) AS name,
              sum(JSONExtractFloat(item, 'quantity')) AS pieces,
              sum(JSONExtractFloat(item, 'quantity') * JSONExtractFloat(item, 'price')) AS revenue
          FROM
          (
              SELECT arrayJoin(JSONExtractArrayRaw(toJSONString(properties), 'items')) AS item
              ${ORDERS}
          )
          GROUP BY sku
          ORDER BY revenue DESC
          LIMIT 50`),
      ],
    }),
  ],
}
