/** Who the telemetry is of: `service.name` and what else identifies a collector, and what OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say. */
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { ATTR_SERVICE_INSTANCE_ID, ATTR_SERVICE_NAME, ATTR_SERVICE_VERSION } from '@opentelemetry/semantic-conventions'

/** @param instanceId of this process, different at every start */
export function collectorResource(version: string, instanceId: string): Resource {
  const own = resourceFromAttributes({
    [ATTR_SERVICE_NAME]: 'penstock',
    [ATTR_SERVICE_VERSION]: version,
    [ATTR_SERVICE_INSTANCE_ID]: instanceId,
  })
  return defaultResource()
    .merge(own)
    .merge(detectResources({ detectors: [envDetector] }))
}
