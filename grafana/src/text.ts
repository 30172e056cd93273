/** Queries are written over several indented lines; they are stored without the indentation. */
export function dedent(text: string): string {
  const lines = text.replace(/^\n/, '').trimEnd().split('\n')
  const indents = lines.filter((line) => line.trim() !== '').map((line) => line.length - line.trimStart().length)
  const indent = Math.min(...indents)
  return lines.map((line) => line.slice(indent)).join('\n')
}

/** A value that Grafana puts in, such as `__value.raw`. */
export function placeholder(name: string): string {
  return `\${${name}}`
}
