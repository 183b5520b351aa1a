"""Web search as a tool: by Tavily, by a SearXNG server, or by DuckDuckGo."""
