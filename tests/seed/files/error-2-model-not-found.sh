# First, list all available models for your account
curl -X GET "https://api.holysheep.ai/v1/models" \
-H "Authorization: Bearer YOUR_HOLYSHEEP_API_KEY"
# Common correct model names:
# - "gpt-4.1" (not "gpt-4.1-turbo" or "gpt4.1")
# - "claude-sonnet-4-5" (check exact format from /models endpoint)
# - "gemini-2.5-flash"
# - "deepseek-v3.2"
