# Implement exponential backoff for rate limit errors
import time
import requests
def make_request_with_retry(url, headers, payload, max_retries=3):
    for attempt in range(max_retries):
        try:
            response = requests.post(url, headers=headers, json=payload)
            if response.status_code == 429:
                wait_time = 2 ** attempt # Exponential backoff: 1, 2, 4 seconds
                print(f"Rate limited. Waiting {wait_time} seconds...")
                time.sleep(wait_time)
                continue
            return response
        except requests.exceptions.RequestException as e:
            print(f"Request failed: {e}")
            time.sleep(2)
    return {"error": "Max retries exceeded"}
# Upgrade your plan or contact support if you consistently hit rate limits at your current tier.
