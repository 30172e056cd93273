/** Panels as the dashboards use them: each says what it shows, in which unit, and from where on it wants attention. */
import * as barchart from '@grafana/grafana-foundation-sdk/barchart'
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge'
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog'
import * as common from '@grafana/grafana-foundation-sdk/common'
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard'
import * as heatmap from '@grafana/grafana-foundation-sdk/heatmap'
import * as stats from '@grafana/grafana-foundation-sdk/stat'
import * as tables from '@grafana/grafana-foundation-sdk/table'
import * as timeseriesPanel from '@grafana/grafana-foundation-sdk/timeseries'
import * as xychart from '@grafana/grafana-foundation-sdk/xychart'

export type Panel = Builder<dashboard.Panel>

/** A query that can be given a letter: Grafana tells the queries of a panel apart by it. */
export interface Query extends Builder<Dataquery> {
  refId(id: string): this
}

export interface PanelOptions {
  readonly title: string
  /** What the numbers are, and what to think of them. */
  readonly description: string
  readonly queries: readonly Query[]
  /** A unit id of Grafana's, such as `s`, `bytes`, `percentunit`, `short`. */
  readonly unit: string
  /** Of 24 columns. Default 8. */
  readonly width?: number
  /** In rows of 30 pixels. Default 8. */
  readonly height?: number
  /** From these values on it is yellow, and red. Without them there is no colour to see. */
  readonly thresholds?: Thresholds
  /** The shortest step between two values, such as `1m`. */
  readonly interval?: string
  /** A time range of its own, up to now, such as `8w`. */
  readonly timeFrom?: string
  readonly decimals?: number
  readonly min?: number
  readonly max?: number
}

export interface Thresholds {
  readonly warning?: number
  readonly critical?: number
  /** Less is worse. */
  readonly below?: boolean
}

/** The methods that all panel builders share. */
interface CommonBuilder extends Panel {
  title(title: string): this
  description(description: string): this
  targets(targets: Builder<Dataquery>[]): this
  unit(unit: string): this
  span(width: number): this
  height(height: number): this
  interval(interval: string): this
  timeFrom(timeFrom: string): this
  decimals(decimals: number): this
  min(min: number): this
  max(max: number): this
  thresholds(thresholds: Builder<dashboard.ThresholdsConfig>): this
}

function describe<B extends CommonBuilder>(builder: B, options: PanelOptions): B {
  builder
    .title(options.title)
    .description(options.description)
    .targets(options.queries.map((query, index) => query.refId(String.fromCharCode(65 + index))))
    .unit(options.unit)
    .span(options.width ?? 8)
    .height(options.height ?? 8)
    .thresholds(new dashboard.ThresholdsConfigBuilder().mode(dashboard.ThresholdsMode.Absolute).steps(stepsOf(options)))
  if (options.interval !== undefined) builder.interval(options.interval)
  if (options.timeFrom !== undefined) builder.timeFrom(options.timeFrom)
  if (options.decimals !== undefined) builder.decimals(options.decimals)
  if (options.min !== undefined) builder.min(options.min)
  if (options.max !== undefined) builder.max(options.max)
  return builder
}

/** Grafana wants the steps from the lowest value up; the first has none. */
function stepsOf({ thresholds = {} }: PanelOptions): dashboard.Threshold[] {
  const { warning, critical, below = false } = thresholds
  const marks = [
    { value: warning, color: 'yellow' },
    { value: critical, color: 'red' },
  ].filter((mark): mark is dashboard.Threshold & { value: number } => mark.value !== undefined)
  if (!below) return [{ value: null, color: 'green' }, ...marks]
  const rising = marks.reverse()
  const colors = [...rising.map(({ color }) => color), 'green']
  return colors.map((color, index) => ({ value: rising[index - 1]?.value ?? null, color }))
}

export interface TimeseriesOptions extends PanelOptions {
  readonly stacked?: boolean
  readonly bars?: boolean
  /** Which numbers the legend shows beside each series. */
  readonly legend?: readonly ('mean' | 'max' | 'lastNotNull' | 'sum')[]
}

/** Lines over time. Thresholds are dashed lines. */
export function timeseries(options: TimeseriesOptions): Panel {
  const { stacked = false, bars = false, legend = ['lastNotNull', 'max'] } = options
  const builder = describe(new timeseriesPanel.PanelBuilder(), { min: 0, ...options })
    .drawStyle(bars ? common.GraphDrawStyle.Bars : common.GraphDrawStyle.Line)
    .fillOpacity(bars ? 80 : stacked ? 30 : 8)
    .lineWidth(bars ? 0 : 1)
    .showPoints(common.VisibilityMode.Auto)
    .tooltip(
      new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending),
    )
    .legend(
      new common.VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(common.LegendDisplayMode.Table)
        .placement(common.LegendPlacement.Bottom)
        .calcs([...legend]),
    )
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.PaletteClassicByName))
  if (stacked) builder.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'))
  if (options.thresholds !== undefined)
    builder.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed))
  return builder
}

export interface StatOptions extends PanelOptions {
  /** Words for values, such as 1 → `up`. */
  readonly words?: Readonly<Record<string, string>>
  /** What is shown of several values over time. Default: the last. */
  readonly calc?: 'lastNotNull' | 'sum' | 'mean' | 'max'
}

/** Large numbers. */
export function stat(options: StatOptions): Panel {
  const { words, calc = 'lastNotNull' } = options
  const builder = describe(new stats.PanelBuilder(), { width: 4, height: 4, ...options })
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs([calc]).fields('').values(false))
    .colorMode(options.thresholds === undefined ? common.BigValueColorMode.None : common.BigValueColorMode.Value)
    .graphMode(common.BigValueGraphMode.Area)
    .textMode(common.BigValueTextMode.Auto)
  if (words !== undefined) {
    const options = Object.fromEntries(Object.entries(words).map(([value, text]) => [value, { text }]))
    builder.mappings([{ type: dashboard.MappingType.ValueToText, options }])
  }
  return builder
}

export interface TableOptions extends PanelOptions {
  /** Units of columns that have another one than the panel. */
  readonly units?: Readonly<Record<string, string>>
  /** Columns whose cells show their value as a bar. */
  readonly gauges?: readonly string[]
  /** Columns, as a regular expression, whose cells are coloured by their value. */
  readonly coloured?: string
  readonly hidden?: readonly string[]
  /** Columns whose values lead somewhere: to an address with Grafana's variables, such as `${__value.raw}`. */
  readonly links?: Readonly<Record<string, { readonly title: string; readonly url: string }>>
}

/** Rows and columns. */
export function table(options: TableOptions): Panel {
  const { units = {}, gauges = [], coloured, hidden = [], links = {} } = options
  const builder = describe(new tables.PanelBuilder(), options).filterable(true)
  for (const [name, unit] of Object.entries(units)) builder.overrideByName(name, [{ id: 'unit', value: unit }])
  for (const name of gauges)
    builder.overrideByName(name, [
      { id: 'custom.cellOptions', value: { type: 'gauge', mode: 'basic' } },
      { id: 'color', value: { mode: 'continuous-blues' } },
    ])
  if (coloured !== undefined)
    builder.overrideByRegexp(coloured, [
      { id: 'custom.cellOptions', value: { type: 'color-background', mode: 'basic' } },
      { id: 'color', value: { mode: 'continuous-greens' } },
    ])
  for (const [name, link] of Object.entries(links)) builder.overrideByName(name, [{ id: 'links', value: [link] }])
  for (const name of hidden) builder.overrideByName(name, [{ id: 'custom.hidden', value: true }])
  return builder
}

/** One bar a row: the first column of text names it. */
export function bars(options: PanelOptions & { readonly field: string }): Panel {
  return describe(new bargauge.PanelBuilder(), options)
    .displayMode(common.BarGaugeDisplayMode.Gradient)
    .orientation(common.VizOrientation.Horizontal)
    .valueMode(common.BarGaugeValueMode.Text)
    .showUnfilled(true)
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.ContinuousBlues))
    .reduceOptions(
      new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']).fields(`/^${options.field}$/`).values(true),
    )
}

/** Columns side by side, one group a row. */
export function columns(options: PanelOptions & { readonly field: string }): Panel {
  return describe(new barchart.PanelBuilder(), options)
    .xField(options.field)
    .orientation(common.VizOrientation.Horizontal)
    .showValue(common.VisibilityMode.Auto)
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.PaletteClassic))
}

/** How the values of a histogram of Prometheus's are spread over time. */
export function spread(options: PanelOptions): Panel {
  return describe(new heatmap.PanelBuilder(), options)
    .calculate(false)
    .yAxis(new heatmap.YAxisConfigBuilder().unit(options.unit))
    .color(new heatmap.HeatmapColorOptionsBuilder().mode(heatmap.HeatmapColorMode.Scheme).scheme('Blues').steps(64))
}

/** Points at x and y, whose size and colour tell a third number. */
export function points(
  options: PanelOptions & { readonly x: string; readonly y: string; readonly size: string },
): Panel {
  const byName = (name: string) => ({ matcher: { id: 'byName', options: name } })
  return describe(new xychart.PanelBuilder(), options)
    .mapping(xychart.SeriesMapping.Manual)
    .show(xychart.XYShowMode.Points)
    .pointSize({ min: 4, max: 40 })
    .fillOpacity(50)
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.ContinuousYlRd))
    .series([
      new xychart.XYSeriesConfigBuilder()
        .x(byName(options.x))
        .y(byName(options.y))
        .size(byName(options.size))
        .color(byName(options.size)),
    ])
}
