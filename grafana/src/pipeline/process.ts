/** The process. */
import type { Row } from '../assemble.ts'
import { timeseries } from '../panels.ts'
import { INSTANCE, metric, rateBy } from '../prometheus.ts'

const DELAY = 'Delay of the event loop between two scrapes. While it is blocked, nothing is answered.'

export const PROCESS: Row = {
  title: 'The process',
  panels: [
    timeseries({
      title: 'Processors',
      description: 'Processors that each collector uses; its main thread can use one.',
      unit: 'short',
      decimals: 2,
      queries: [metric(rateBy('instance', 'process_cpu_time_seconds_total'), '{{instance}}')],
    }),
    timeseries({
      title: 'Memory',
      description: 'Resident memory of each collector.',
      unit: 'bytes',
      queries: [metric(`sum by (instance) (process_memory_usage_bytes{${INSTANCE}})`, '{{instance}}')],
    }),
    timeseries({
      title: 'Busy main thread',
      description: 'Share of the time that the thread of the event loop spends on a processor. At 1 it is the limit.',
      unit: 'percentunit',
      max: 1,
      thresholds: { warning: 0.8, critical: 0.95 },
      queries: [metric(`max by (instance) (nodejs_eventloop_utilization_ratio{${INSTANCE}})`, '{{instance}}')],
    }),
    timeseries({
      title: 'Delay of the event loop',
      description: DELAY,
      unit: 's',
      width: 16,
      thresholds: { warning: 0.1, critical: 0.5 },
      queries: ['p50', 'p90', 'p99', 'max'].map((name) =>
        metric(`max by (instance) (nodejs_eventloop_delay_${name}_seconds{${INSTANCE}})`, `${name} {{instance}}`),
      ),
    }),
    timeseries({
      title: 'Uptime',
      description: 'Since the start of each process. A drop is a restart.',
      unit: 's',
      queries: [metric(`max by (instance) (process_uptime_seconds{${INSTANCE}})`, '{{instance}}')],
    }),
  ],
}
