/** What is earned: `Order Completed` events with `total` and `currency`. */

import type { Row } from '../assemble.ts'
import { numberAt, OCCURRED, rows, series, textAt, WORKSPACE } from '../clickhouse.ts'
import { stat, table, timeseries } from '../panels.ts'

const TOTAL = numberAt('properties.total')
const ORDERED = `${WORKSPACE} AND type = 'Order Completed' AND ${OCCURRED}`
const ORDERS = `FROM events
  WHERE ${ORDERED}`

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
              ${textAt('item.sku')} AS sku,
              any(${textAt('item.name')}) AS name,
              sum(${numberAt('item.quantity')}) AS pieces,
              sum(${numberAt('item.quantity')} * ${numberAt('item.price')}) AS revenue
          FROM events
          ARRAY JOIN properties.items[] AS item
          WHERE ${ORDERED}
          GROUP BY sku
          ORDER BY revenue DESC
          LIMIT 50`),
      ],
    }),
  ],
}
