/**
 * Takes a file of SQL apart into its statements, as ClickHouse's own lexer would: a semicolon inside a string, a quoted
 * name, a comment or a heredoc ends nothing.
 */

/** One alternative per token that may hold a semicolon, plus the semicolon itself; everything else is skipped. */
const TOKEN =
  /'(?:[^'\\]|\\[\s\S])*'|"(?:[^"\\]|\\[\s\S])*"|`(?:[^`\\]|\\[\s\S])*`|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\/|(\$\w*\$)[\s\S]*?\1|;/g

/** The statements of `sql` in order, without their semicolons and without comments around them. Empty ones are left out. */
export function splitStatements(sql: string): string[] {
  const statements: string[] = []
  let statement = ''
  let position = 0
  const keep = (end: number) => {
    statement += sql.slice(position, end)
  }
  const finish = () => {
    if (statement.trim() !== '') statements.push(statement.trim())
    statement = ''
  }
  for (const match of sql.matchAll(TOKEN)) {
    const token = match[0]
    const isComment = token.startsWith('--') || token.startsWith('#') || token.startsWith('/*')
    const end = match.index + token.length
    keep(isComment || token === ';' ? match.index : end)
    if (isComment) statement += ' '
    if (token === ';') finish()
    position = end
  }
  keep(sql.length)
  finish()
  return statements
}

/**
 * The statement with everything inside of parentheses, strings, quoted names and comments as blanks, and the parentheses too, so that
 * a search finds only what belongs to the statement itself, at its position.
 */
export function maskInner(statement: string): string {
  const unquoted = statement.replaceAll(TOKEN, (token) => ' '.repeat(token.length))
  let masked = ''
  let depth = 0
  for (const character of unquoted.split('')) {
    if (character === '(') depth += 1
    masked += depth > 0 ? ' ' : character
    if (character === ')') depth -= 1
  }
  return masked
}
