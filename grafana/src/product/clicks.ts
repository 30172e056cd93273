/** Where they click: events of type `click`, with `selector` and `position` {x, y} in pixels of the page. */

import type { Row } from '../assemble.ts'
import { chosen, numberAt, OCCURRED, rows, textAt, USER, WORKSPACE } from '../clickhouse.ts'
import { points, table } from '../panels.ts'

/** Edge of the squares in which clicks are counted. */
const SQUARE_PIXELS = 20

const CLICKED = `${WORKSPACE} AND type = 'click' AND ${OCCURRED} AND path = ${chosen('page')}`
const square = (coordinate: string) => `round(${numberAt(coordinate)} / ${SQUARE_PIXELS}) * ${SQUARE_PIXELS}`

export const CLICKS: Row = {
  title: 'Where do they click?',
  panels: [
    points({
      title: 'Click map of $page',
      description: `Clicks in squares of ${SQUARE_PIXELS} pixels of the chosen page. 0 is its left and its upper edge; downwards numbers are negative. It reads the properties of all clicks in the time range: many millions take seconds.`,
      unit: 'none',
      width: 14,
      height: 14,
      x: 'x',
      y: 'y',
      size: 'clicks',
      queries: [
        rows(`
          SELECT ${square('properties.position.x')} AS x, -${square('properties.position.y')} AS y, count() AS clicks
          FROM events
          WHERE ${CLICKED} AND x IS NOT NULL AND y IS NOT NULL
          GROUP BY x, y
          ORDER BY clicks DESC
          LIMIT 2000`),
      ],
    }),
    table({
      title: 'Clicked on $page',
      description: 'What was clicked on the chosen page, by CSS selector.',
      unit: 'short',
      width: 10,
      height: 14,
      gauges: ['clicks'],
      queries: [
        rows(`
          SELECT ${textAt('properties.selector')} AS selector, count() AS clicks, uniq(${USER}) AS users
          FROM events
          WHERE ${CLICKED}
          GROUP BY selector
          ORDER BY clicks DESC
          LIMIT 100`),
      ],
    }),
  ],
}
